/* Weights of the parameters that a rank holds: their storage, and all that reads or changes it.
 *
 * Knows neither models nor optimizers. A stage computes its loss from these alone. */
#ifndef QGALORE_WEIGHTS_H
#define QGALORE_WEIGHTS_H

#include "qgalore/backend.h"
#include "qgalore/base/state.h"
#include "qgalore/memory.h"
#include "qgalore/spec/param.h"

/* How the weight of one parameter is stored. */
typedef enum {
  QG_WEIGHT_F32,
  QG_WEIGHT_BF16,
  QG_WEIGHT_INT8 /* codes in groups of QG_GROUP consecutive elements of the flat matrix, with a scale and a zero each */
} qg_weight_format;

typedef struct {
  bool stochastic;      /* stochastic rounding when an update is stored in INT8 or bf16 */
  bool include_zero;    /* the range of an INT8 group contains 0 */
  bool bf16_arithmetic; /* arithmetic of INT8 updates as in the reference code */
  uint64_t seed;        /* of fresh weights and of rounding */
} qg_weight_options;

typedef struct qg_weights qg_weights;

/* Takes the storage of every held parameter from `mem` (dry or live). formats [params->count]; `params` is copied. Local. */
qg_status qg_weights_create(qg_mem *mem, qg_backend *be, const qg_param_list *params, const qg_weight_format *formats,
                            const qg_weight_options *options, qg_weights **out);
void qg_weights_destroy(qg_weights *weights);

qg_weight_format qg_weights_format(const qg_weights *weights, int param);

/* Reading unpacks into scratch: bytes of the largest weight that is not stored in the compute type. With a device that works
 * asynchronously INT8 weights are unpacked one ahead of the model, into a second scratch of the same size. */
size_t qg_weights_scratch_bytes(const qg_weights *weights);
bool qg_weights_prefetches(const qg_weights *weights);
/* Whether reading this parameter needs scratch. */
bool qg_weights_unpacks(const qg_weights *weights, int param);
/* Hands the scratch over, `next` only with prefetch. Its owner may use it for something else while no weight is read, after
 * qg_weights_drop_prefetched. */
void qg_weights_set_scratch(qg_weights *weights, void *scratch, void *next);
/* Takes it from the ledger, where nobody else hands it over. */
qg_status qg_weights_take_scratch(qg_weights *weights, qg_mem *mem);
/* What prefetch needs of a live backend. Once, after the scratch is known. */
qg_status qg_weights_start(qg_weights *weights);

/* For models. The reader belongs to the weights. */
const qg_weight_reader *qg_weights_reader(qg_weights *weights);
/* Before the scratch is written by somebody else: what was unpacked ahead is unpacked again when it is read. */
qg_status qg_weights_drop_prefetched(qg_weights *weights);

/* w = w + update - decay * w for the elements [first, first + count) of the flat parameter, stored again with stochastic rounding.
 * first: a multiple of QG_GROUP. update: device f32 [count]. The rounding of element e is keyed by (seed, step, id, e). A guard that
 * is closed: nothing happens. */
typedef struct {
  int param;
  int64_t first, count;
  const float *update;
  float decay;
  int64_t step;
  const qg_finite_guard *guard; /* device, or NULL */
} qg_weight_update;
qg_status qg_weights_update(qg_weights *weights, const qg_weight_update *update);
/* Before the first update of a parameter that may have been prefetched. */
qg_status qg_weights_begin_update(qg_weights *weights, int param);
/* After updates, or after the data of state entries were overwritten: refreshes what is kept in the compute type. */
qg_status qg_weights_changed(qg_weights *weights);

/* Memory in which values pass as fp32, at least min(largest parameter, backend->update_elements) elements and a multiple of QG_GROUP
 * unless that is a whole parameter; host == device in unified memory. */
typedef struct {
  float *device, *host;
  int64_t elements;
} qg_weight_staging;
int64_t qg_weights_staging_elements(const qg_weights *weights);
/* Takes staging of so many elements, or of as many as the weights ask for. */
qg_status qg_weight_staging_take(qg_mem *mem, const qg_backend *be, int64_t elements, qg_weight_staging *out);
qg_status qg_weights_take_staging(const qg_weights *weights, qg_mem *mem, qg_weight_staging *out);

/* Fresh weights: N(0, 0.02), vectors 1, keyed by (seed, id, element): the same on every partition. */
qg_status qg_weights_initialise(qg_weights *weights, const qg_weight_staging *staging);

/* Rows [first, first + count) of a parameter as fp32 in host memory, [count, cols], for export and editing. Waits. */
qg_status qg_weights_get_rows(qg_weights *weights, const qg_weight_staging *staging, int param, int64_t first, int64_t count,
                              float *out);
/* The way back, rounded to nearest. INT8 groups straddle rows: elements of neighbouring rows that share a group with these are
 * stored anew with the group's new scale, so write as many rows at once as possible. Call qg_weights_changed at the end. */
qg_status qg_weights_set_rows(qg_weights *weights, const qg_weight_staging *staging, int param, int64_t first, int64_t count,
                              const float *values);

/* Appends one array of a parameter as "GROUP/DATASET/FIELD"; data counts where it is held. */
qg_status qg_param_append_state(const qg_param *param, const char *group, const char *field, qg_dtype type, int64_t elements,
                                void *data, bool on_device, qg_state_list *list);

/* Appends the stored arrays of one parameter, held or not. */
qg_status qg_weights_list_state(const qg_weights *weights, int param, qg_state_list *list);

#endif
