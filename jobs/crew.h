/* crew.h - the ranks that work for the coordinator. */
#ifndef CLLAVA_JOBS_CREW_H
#define CLLAVA_JOBS_CREW_H

/* A rank other than 0: does what rank 0 tells it until rank 0 ends. */
int crew_serve(void);

#endif
