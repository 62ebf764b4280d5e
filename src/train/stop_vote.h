/* How a rank says what it wants to happen, on the way of a sum that all ranks make anyway. */
#ifndef QG_TRAIN_STOP_VOTE_H
#define QG_TRAIN_STOP_VOTE_H

/* What this rank votes for, asked as late as possible and added up over ranks (stop.h). ask NULL: for
 * nothing. */
typedef struct {
  double (*ask)(const void *context);
  const void *context;
} qg_stop_vote;

static inline double qg_stop_vote_ask(const qg_stop_vote *vote)
{
  return vote && vote->ask ? vote->ask(vote->context) : 0.0;
}

#endif
