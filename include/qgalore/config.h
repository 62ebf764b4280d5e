/* Input: one schema table drives parsing, --help-input, the resolved echo and doc/inputs.md. */
#ifndef QGALORE_CONFIG_H
#define QGALORE_CONFIG_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "qgalore/base/status.h"
#include "qgalore/base/view.h"
#include "qgalore/spec/method.h"
#include "qgalore/spec/model_shape.h"

enum { QG_PATH_MAX = 1024, QG_MAX_STAGES = 1024 };

typedef enum { QG_COMPAT_NONE, QG_COMPAT_REFERENCE } qg_compat;
typedef enum { QG_UPDATE_AUTO, QG_UPDATE_FUSED, QG_UPDATE_ACCUMULATED } qg_update;
typedef enum { QG_TRANSPORT_AUTO, QG_TRANSPORT_DEVICE, QG_TRANSPORT_HOST } qg_transport_choice;
typedef enum { QG_ASYNCHRONOUS_AUTO, QG_ASYNCHRONOUS_YES, QG_ASYNCHRONOUS_NO } qg_asynchronous;
typedef enum { QG_ATTENTION_BLOCKS, QG_ATTENTION_FUSED } qg_attention;
typedef enum { QG_PARTIAL_ROLLBACK, QG_PARTIAL_KEEP } qg_nonfinite_partial;
typedef enum { QG_DATA_REFUSE, QG_DATA_CONTINUE } qg_data_on_change;
typedef enum { QG_LAYOUT_SHARED, QG_LAYOUT_PER_RANK } qg_layout;

/* All sections. Derived members (no key of their own) are filled by qg_config_load. */
typedef struct {
  struct {
    char job[32];                 /* of the program's table of jobs */
    char name[128];
    char output_dir[QG_PATH_MAX]; /* folder of runs; this run's folder is output_dir/name */
    char restart[QG_PATH_MAX];    /* auto | scratch | PATH */
    bool overwrite;               /* scratch over an existing run */
    double max_walltime;          /* seconds, 0: none */
    int64_t log_every;            /* steps between log lines */
    int64_t max_bad_steps;        /* non-finite steps in a row before the run gives up */
    qg_nonfinite_partial nonfinite_partial; /* a non-finite step of which parts have reached the state */
    double spike_factor;          /* loss over this times its recent mean: back to the newest checkpoint; 0: never */
    double watchdog;              /* seconds without progress before the run ends itself, 0: never */
  } run;
  qg_model_shape model;
  struct {
    char train[QG_PATH_MAX], valid[QG_PATH_MAX]; /* valid may be "" */
    qg_data_on_change on_change;
    bool different_tokenizers;
  } data;
  struct {
    int64_t steps, seed, sequence_length;
    int64_t global_batch, micro_batch; /* sequences */
    bool activation_checkpointing, activation_offload;
    int64_t validate_every;            /* steps, 0: only at the end when data.valid is given */
    int64_t validate_sequences;        /* 0: all */
    int64_t logit_chunk_tokens; /* tokens whose logits are alive at once */
    qg_update update;
    qg_dtype accumulators;             /* QG_F32 or QG_BF16 */
  } train;
  struct {
    qg_method method;
    double lr, beta1, beta2, eps, weight_decay;
    qg_schedule_kind schedule;
    int64_t warmup_steps;
    bool warmup_from_zero;
    double min_lr_ratio, decay_share;
    double grad_clip;               /* 0: none */
    int64_t moment_bits;            /* 0: by method (adamw, galore 32; adam8bit, qgalore 8) */
    int64_t moment_block;
    bool clamp_second_moment;
    qg_dtype dense_type;            /* optimizer.dense_weights = bf16 | fp32 */
  } optimizer;
  struct {
    qg_compat compat;
    int64_t rank;
    double scale;
    int64_t update_gap, max_update_gap;
    bool lazy;
    qg_similarity similarity;
    double similarity_threshold;
    int64_t similarity_window;
    int64_t weight_bits;            /* 0: by method (qgalore 8, else as dense) */
    int64_t projector_bits;         /* 0: by method (qgalore 4, galore 32) */
    double shrink_threshold;
    bool stochastic_rounding, include_zero, bf16_arithmetic, full_gradient, project_head, rotate_moments;
  } qgalore;
  struct {
    qg_subspace_method method;
    double min_energy;
    qg_sample sample;
    bool stagger;
    int64_t distributed_min; /* short side, for method = scalapack */
    bool validate;
  } subspace;
  struct {
    int64_t pipeline;                          /* stages, 0: all ranks */
    int64_t layers_per_stage[QG_MAX_STAGES];   /* from a list; */
    int64_t layers_per_stage_count;            /* 0: by cost */
    bool share_gpu;                            /* two ranks of a node may use one device */
    qg_transport_choice transport;
  } parallel;
  struct {
    char name[32];      /* auto | cpu | cuda */
    char precision[8];  /* bf16 | fp32 */
    qg_attention attention;
    int64_t threads;    /* 0: cores per rank */
    bool graphs;        /* replay forward passes of layers */
  } backend;
  struct {
    int64_t every, keep_last, keep_every; /* every 0: not by steps */
    double every_time, retry_time;        /* seconds; every_time 0: not by time */
    qg_layout layout;
    qg_asynchronous asynchronous;
    int64_t snapshot_memory;              /* bytes per rank */
    bool selftest;
  } checkpoint;
  struct {
    char checkpoint[QG_PATH_MAX]; /* auto | PATH */
    char data[4 * QG_PATH_MAX];   /* token files, separated by commas; "": data.valid */
    char output[QG_PATH_MAX];     /* JSON; "": none */
    int64_t micro_batch;          /* sequences; 0: train.micro_batch */
    int64_t sequences;            /* of each file; 0: all */
  } evaluate;
} qg_config;

/* Reads FILE, its includes and overrides ("section.key=value"), checks every key and the cross conditions, and fills *out.
 * All errors are found in one pass; the message lists each on its own line as "file:line: section.key: what (did you
 * mean ...?)". QG_ERR_INPUT. Local; pure apart from reading the files. */
qg_status qg_config_load(const char *path, int overrides, char *const *override, qg_config *out);

/* A job as the input sees it: run.job names it, and it uses these sections. Keys without a default of others need not be given, nor conditions between their
 * keys hold. */
typedef struct {
  const char *name;
  const char *sections; /* separated by spaces */
} qg_job_input;

/* The same for one of `count` jobs, where qg_config_load asks for the required keys of all sections and takes any run.job. */
qg_status qg_config_load_job(const qg_job_input *jobs, int count, const char *path, int overrides, char *const *override,
                             qg_config *out);

/* Writes a file that qg_config_load reads back to the same qg_config, every key present. Caller frees *text. Local. */
qg_status qg_config_resolved(const qg_config *config, char **text);

/* The input that a checkpoint carries, keys of later versions with their defaults. QG_ERR_CHECKPOINT. Local. */
qg_status qg_config_load_saved(const char *text, qg_config *out);

/* Keys whose value differs, one "section.key: BEFORE -> NOW" a line, without those that say where a run begins and lies.
 * Caller frees *text. Local. */
qg_status qg_config_list_changes(const qg_config *config, const qg_config *saved, char **text);

/* Keys whose value differs and that the schema does not allow to change on restart: one "section.key: checkpoint A,
 * input B" per line. QG_ERR_INPUT if any. `saved` is the resolved text of a checkpoint. Local. */
qg_status qg_config_check_restart(const qg_config *config, const char *saved);
/* The same for the model and the storage of weights alone: whether weights of that checkpoint mean the same here. */
qg_status qg_config_check_weights(const qg_config *config, const char *saved);

/* --help-input: plain text for a terminal; doc/inputs.md: Markdown. `topic` is a section, a key, or section.key; NULL: all.
 * QG_ERR_INPUT names the nearest of them if there is no such thing. */
qg_status qg_config_help(FILE *out, const char *topic);
void qg_config_write_markdown(FILE *out);

/* Micro-batches of one step. */
static inline int64_t qg_config_micro_batches(const qg_config *c) { return c->train.global_batch / c->train.micro_batch; }
/* Whether projected matrices are updated in backward: as asked, or with one micro-batch a step. */
static inline bool qg_config_is_fused(const qg_config *c)
{
  return c->train.update == QG_UPDATE_FUSED || (c->train.update == QG_UPDATE_AUTO && qg_config_micro_batches(c) == 1);
}

/* Whether the method projects the gradients of layer matrices. */
static inline bool qg_config_projects(const qg_config *c)
{
  return c->optimizer.method == QG_METHOD_GALORE || c->optimizer.method == QG_METHOD_QGALORE;
}
/* Bits of the state: those asked for, or the method's where the key is 0. Pure. */
int qg_config_moment_bits(const qg_config *config);
int qg_config_weight_bits(const qg_config *config);
int qg_config_projector_bits(const qg_config *config);

#endif
