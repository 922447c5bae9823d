/* safetensors_names.c - one name per weight, whoever saved it.
 *
 * LLaVA's own code, the hub's copies and each generation of transformers wrap the same modules differently, and re-saved
 * directories mix them. So wrappers are taken off until the module's own name is in front.
 */
#include <stdio.h>
#include <string.h>

#include "io/safetensors.h"

/* Takes every leading occurrence of the n words off. */
static const char *strip(const char *name, const char *const *word, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        size_t length = strlen(word[i]);
        if (!strncmp(name, word[i], length)) {
            name += length;
            i = (size_t)-1; // from the start again: wrappers come in any order
        }
    }
    return name;
}

void safetensors_canonical(const char *name, char *out, size_t room)
{
    static const char *const outer[] = {"model.", "language_model.", "base_model."};
    static const char *const tower[] = {"vision_tower.", "vision_model."};
    static const char *const projector[] = {"mm_projector."};
    const char *own = strip(name, outer, 3), *inner;

    if ((inner = strip(own, tower, 2)) != own)
        snprintf(out, room, "vision_tower.%s", inner);
    else if ((inner = strip(own, projector, 1)) != own && (!strncmp(inner, "0.", 2) || !strncmp(inner, "2.", 2)))
        snprintf(out, room, "multi_modal_projector.linear_%d.%s", *inner == '0' ? 1 : 2, inner + 2);
    else
        snprintf(out, room, "%s", own);
}
