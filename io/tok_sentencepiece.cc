/* tok_sentencepiece.cc - the SentencePiece library behind a C interface; no exception leaves this file. */
extern "C" {
#include "io/err.h"
#include "io/tok_sentencepiece.h"
}

#include <exception>
#include <new>
#include <sentencepiece_processor.h>
#include <string>
#include <vector>

struct tok_sentencepiece {
    sentencepiece::SentencePieceProcessor whole; // as the file says
    sentencepiece::SentencePieceProcessor glued; // without dummy prefix
};

/* Runs f, which returns a status of the library. */
template <class F> static int guard(const char *what, F f)
{
    try {
        const sentencepiece::util::Status status = f();

        return status.ok() ? CL_OK
                           : err_set(CL_EFORMAT, "SentencePiece cannot %s: %s", what, status.ToString().c_str());
    } catch (const std::bad_alloc &) {
        return err_set(CL_ENOMEM, "no memory to %s with SentencePiece", what);
    } catch (const std::exception &e) {
        return err_set(CL_ELIB, "SentencePiece cannot %s: %s", what, e.what());
    } catch (...) {
        return err_set(CL_ELIB, "SentencePiece cannot %s", what);
    }
}

int tok_sentencepiece_open(struct tok_sentencepiece **out, const char *bytes, size_t n)
{
    /* In this wire format a message that comes twice is merged, later members win: normalizer_spec (field 3)
     * { add_dummy_prefix (field 3): false } behind the file changes this one setting. */
    static const char no_prefix[] = {3 << 3 | 2, 2, 3 << 3, 0};
    struct tok_sentencepiece *sp = nullptr;
    int rc;

    *out = nullptr;
    rc = guard("load the model", [&] {
        sp = new tok_sentencepiece;
        const sentencepiece::util::Status status = sp->whole.LoadFromSerializedProto(std::string_view(bytes, n));
        if (!status.ok()) return status;
        return sp->glued.LoadFromSerializedProto(std::string(bytes, n).append(no_prefix, sizeof no_prefix));
    });
    if (rc)
        delete sp;
    else
        *out = sp;
    return rc;
}

void tok_sentencepiece_close(struct tok_sentencepiece *sp)
{
    delete sp;
}

int32_t tok_sentencepiece_size(const struct tok_sentencepiece *sp)
{
    return sp->whole.GetPieceSize();
}

const char *tok_sentencepiece_piece(const struct tok_sentencepiece *sp, int32_t id, size_t *n)
{
    const std::string &piece = sp->whole.IdToPiece(id);

    *n = piece.size();
    return piece.c_str();
}

enum tok_sentencepiece_kind tok_sentencepiece_kind(const struct tok_sentencepiece *sp, int32_t id)
{
    const sentencepiece::SentencePieceProcessor &p = sp->whole;

    return p.IsUnknown(id)   ? TOK_SP_UNKNOWN
           : p.IsControl(id) ? TOK_SP_CONTROL
           : p.IsByte(id)    ? TOK_SP_BYTE
           : p.IsUnused(id)  ? TOK_SP_UNUSED
                             : TOK_SP_NORMAL;
}

int32_t tok_sentencepiece_bos(const struct tok_sentencepiece *sp)
{
    return sp->whole.bos_id();
}

int32_t tok_sentencepiece_eos(const struct tok_sentencepiece *sp)
{
    return sp->whole.eos_id();
}

int tok_sentencepiece_encode(const struct tok_sentencepiece *sp, const char *text, size_t n, bool glued,
                             struct ids *out)
{
    std::vector<int> ids;
    int rc =
        guard("encode a text", [&] { return (glued ? sp->glued : sp->whole).Encode(std::string_view(text, n), &ids); });

    for (size_t i = 0; rc == CL_OK && i < ids.size(); i++) rc = ids_push(out, ids[i]);
    return rc;
}
