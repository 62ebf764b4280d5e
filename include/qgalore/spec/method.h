/* The choices of the method, as input keys and the optimizer share them. */
#ifndef QGALORE_METHOD_H
#define QGALORE_METHOD_H

typedef enum { QG_METHOD_ADAMW, QG_METHOD_ADAM8BIT, QG_METHOD_GALORE, QG_METHOD_QGALORE } qg_method;
typedef enum { QG_SIMILARITY_OVERLAP, QG_SIMILARITY_COSINE } qg_similarity;
typedef enum { QG_SCHEDULE_COSINE, QG_SCHEDULE_LINEAR, QG_SCHEDULE_CONSTANT, QG_SCHEDULE_WSD } qg_schedule_kind;
typedef enum { QG_SAMPLE_BATCH, QG_SAMPLE_MICRO_BATCH } qg_sample;

/* How a subspace is computed; qgalore/linalg.h says what each does. */
typedef enum { QG_SUBSPACE_EXACT, QG_SUBSPACE_WARM, QG_SUBSPACE_RANDOMIZED, QG_SUBSPACE_SCALAPACK, QG_SUBSPACE_AUTO } qg_subspace_method;

/* The longest window of similarities that the lazy refresh may look at. */
enum { QG_TRACKER_WINDOW_MAX = 16 };

#endif
