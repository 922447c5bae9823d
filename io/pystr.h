/* pystr.h - text as Python's str sees it, for rules that were written in Python.
 *
 * Published scores hang on details of str.strip, str.split, str.lower and float(): which characters are white space, that
 * one capital may become two letters, that float takes "1_000" and " ½" not. These are those details, after Python 3.
 *
 * Texts are UTF-8. A byte that is none counts as one character that is no letter, digit or white space, so that any text can
 * be treated. Functions that make a text return malloc'ed memory, NULL when there is none left.
 */
#ifndef CLLAVA_IO_PYSTR_H
#define CLLAVA_IO_PYSTR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The character at s, its bytes in *n; n bytes of 1 and a negative number for a byte that is no UTF-8. */
int32_t pystr_at(const char *s, size_t *n);
size_t pystr_length(const char *s); // len(): characters

bool pystr_is_space(int32_t c);   // str.isspace
bool pystr_is_decimal(int32_t c); // str.isdecimal, \d of a regular expression
bool pystr_is_alnum(int32_t c);   // str.isalnum; \w is this or _

/* str.strip: where the part between outer white space begins, its bytes in *n. Nothing is copied. */
const char *pystr_stripped(const char *s, size_t *n);
char *pystr_strip(const char *s);
char *pystr_lower(const char *s); // str.lower, with İ and the Greek final sigma
char *pystr_upper(const char *s); // str.upper, with ß -> SS and its like
/* str.replace of one ASCII character; with NULL: takes it out. */
char *pystr_replace(const char *s, char what, const char *with);
char *pystr_lower_strip(const char *s);

/* str.split(): words between white space, none empty. All-zero before and after. */
struct pystr_words {
    char *text;  // the words, each with its NUL
    char **word; // (n), into text
    int n;
};
int pystr_split(struct pystr_words *w, const char *s); // 0, -1: no memory
void pystr_words_free(struct pystr_words *w);
/* " ".join */
char *pystr_join(const struct pystr_words *w);

/* float(): false where Python raises ValueError. inf and nan are numbers; hexadecimal, commas, units are none. */
bool pystr_float(const char *s, double *v);
/* str.isnumeric of a text of decimal digits; other numerals (½, 四) are false here, where float() of them raises. */
bool pystr_is_number(const char *s);

#endif
