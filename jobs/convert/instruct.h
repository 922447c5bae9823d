/* instruct.h - what the command needs to know of folders with instruction files. */
#ifndef CLLAVA_JOBS_CONVERT_INSTRUCT_H
#define CLLAVA_JOBS_CONVERT_INSTRUCT_H

#include <stdbool.h>

/* Does the folder hold training instructions itself (train*.json)? Else its folders are tasks. */
bool instructions_in(const char *folder);

#endif
