/* outcome.h - calls that must succeed or fail, with the error's text where they do not. Include after cmocka.h. */
#ifndef CLLAVA_TESTS_OUTCOME_H
#define CLLAVA_TESTS_OUTCOME_H

#include <string.h>

#include "io/err.h"

#define OK(call)                                                                                                       \
    do {                                                                                                               \
        int rc_ = (call);                                                                                              \
        if (rc_) fail_msg("%s:%d: %s: %s: %s", __FILE__, __LINE__, #call, err_name(rc_), err_text());                  \
    } while (0)
/* The call fails with this code and a text that holds this part. */
#define REFUSED(call, code, part)                                                                                      \
    do {                                                                                                               \
        int rc_ = (call);                                                                                              \
        if (rc_ != (code) || !strstr(err_text(), part))                                                                \
            fail_msg("%s:%d: %s: got %s: %s (expected %s with '%s')", __FILE__, __LINE__, #call, err_name(rc_),        \
                     err_text(), #code, part);                                                                         \
    } while (0)

#endif
