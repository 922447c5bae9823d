/* background.h - one piece of work at a time beside the main thread.
 *
 *     main     start(work) --- goes on --- running? --- goes on --- wait() -> what work returned, with its error text
 *     thread   `--- work ----------------------'
 *
 * The thread lives as long as its work. It blocks every signal that asks for something, so that SIGTERM and the like reach
 * the threads that know what to do with them. All functions are the main thread's.
 */
#ifndef CLLAVA_IO_BACKGROUND_H
#define CLLAVA_IO_BACKGROUND_H

#include <stdbool.h>

/* Starts work(with). It waits for an earlier piece first; where that failed and nobody has asked, its error is returned
 * and nothing starts. Where the system has no thread left the work is done before this returns. */
int background_start(int (*work)(void *), void *with);
bool background_running(void);
/* Waits for the end of the work; its result stays for background_wait. From inside the work: does nothing. */
void background_finish(void);
/* Waits and gives the result of the last piece, once: CL_OK when there is none. err_text is the work's where it failed,
 * else left alone. */
int background_wait(void);
#endif
