#include "config/schema.h"

#include "qgalore/base.h"

#define MEMBER(section, member) \
  .offset = offsetof(qg_config, section.member), .size = sizeof(((qg_config *)NULL)->section.member)
#define KEY(section_, key_) #section_, #key_

static const qg_choice method_choices[] = {{"adamw", QG_METHOD_ADAMW},
                                           {"adam8bit", QG_METHOD_ADAM8BIT},
                                           {"galore", QG_METHOD_GALORE},
                                           {"qgalore", QG_METHOD_QGALORE},
                                           {NULL, 0}};
static const qg_choice moment_bits_choices[] = {{"0", 0}, {"8", 8}, {"32", 32}, {NULL, 0}};
static const qg_choice weight_bits_choices[] = {{"0", 0}, {"8", 8}, {"16", 16}, {"32", 32}, {NULL, 0}};
static const qg_choice projector_bits_choices[] = {{"0", 0}, {"4", 4}, {"32", 32}, {NULL, 0}};
static const qg_choice dense_choices[] = {{"bf16", QG_BF16}, {"fp32", QG_F32}, {NULL, 0}};
static const qg_choice compat_choices[] = {
    {"none", QG_COMPAT_NONE}, {"reference", QG_COMPAT_REFERENCE}, {NULL, 0}};
static const qg_choice similarity_choices[] = {
    {"overlap", QG_SIMILARITY_OVERLAP}, {"cosine", QG_SIMILARITY_COSINE}, {NULL, 0}};
static const qg_choice subspace_choices[] = {
    {"auto", QG_SUBSPACE_AUTO},           {"exact", QG_SUBSPACE_EXACT},
    {"warm", QG_SUBSPACE_WARM},           {"randomized", QG_SUBSPACE_RANDOMIZED},
    {"scalapack", QG_SUBSPACE_SCALAPACK}, {NULL, 0}};
static const qg_choice schedule_choices[] = {{"cosine", QG_SCHEDULE_COSINE},
                                             {"linear", QG_SCHEDULE_LINEAR},
                                             {"constant", QG_SCHEDULE_CONSTANT},
                                             {"wsd", QG_SCHEDULE_WSD},
                                             {NULL, 0}};
static const qg_choice sample_choices[] = {
    {"batch", QG_SAMPLE_BATCH}, {"micro_batch", QG_SAMPLE_MICRO_BATCH}, {NULL, 0}};
static const qg_choice update_choices[] = {
    {"auto", QG_UPDATE_AUTO}, {"fused", QG_UPDATE_FUSED}, {"accumulated", QG_UPDATE_ACCUMULATED}, {NULL, 0}};
static const qg_choice backend_choices[] = {{"auto", 0}, {"cpu", 0}, {"cuda", 0}, {NULL, 0}};
static const qg_choice precision_choices[] = {{"bf16", 0}, {"fp32", 0}, {NULL, 0}};
static const qg_choice attention_choices[] = {
    {"blocks", QG_ATTENTION_BLOCKS}, {"fused", QG_ATTENTION_FUSED}, {NULL, 0}};
static const qg_choice on_change_choices[] = {
    {"refuse", QG_DATA_REFUSE}, {"continue", QG_DATA_CONTINUE}, {NULL, 0}};
static const qg_choice layout_choices[] = {
    {"shared", QG_LAYOUT_SHARED}, {"per_rank", QG_LAYOUT_PER_RANK}, {NULL, 0}};
static const qg_choice transport_choices[] = {
    {"auto", QG_TRANSPORT_AUTO}, {"device", QG_TRANSPORT_DEVICE}, {"host", QG_TRANSPORT_HOST}, {NULL, 0}};
static const qg_choice nonfinite_partial_choices[] = {
    {"rollback", QG_PARTIAL_ROLLBACK}, {"keep", QG_PARTIAL_KEEP}, {NULL, 0}};
static const qg_choice nonfinite_partial_former[] = {{"undo", QG_PARTIAL_ROLLBACK}, {NULL, 0}};
static const qg_choice asynchronous_choices[] = {
    {"auto", QG_ASYNCHRONOUS_AUTO}, {"yes", QG_ASYNCHRONOUS_YES}, {"no", QG_ASYNCHRONOUS_NO}, {NULL, 0}};

const qg_section qg_sections[] = {
    {"run", "Names, folders, and how a run starts and ends."},
    {"model", "The shape of the LLaMA model."},
    {"data", "Token files, as written by qgalore_tok."},
    {"train", "Steps, batches and validation."},
    {"optimizer", "The method and the constants of Adam."},
    {"qgalore", "Projection, quantisation and lazy refresh; used by the methods galore and qgalore."},
    {"subspace", "How projectors are computed."},
    {"parallel", "How the model is spread over ranks."},
    {"backend", "What computes, and in which precision."},
    {"checkpoint", "When checkpoints are written and which are kept."},
    {"evaluate", "What run.job = evaluate reads and writes."},
};
const int qg_section_count = QG_COUNT_OF(qg_sections);

const qg_key qg_schema[] = {
    /* run */
    {KEY(run, job), QG_KEY_STRING, MEMBER(run, job), .fallback = "pretrain", .may_change = true,
     .doc =
         "What the program does with this input. pretrain: trains. evaluate: prints the loss of a checkpoint "
         "over token files, see [evaluate]. check: what a training would need, as --check."},
    {KEY(run, name), QG_KEY_STRING, MEMBER(run, name), .fallback = "", .may_change = true,
     .doc = "Name of the run and of its folder in run.output_dir. Empty: the name of the input file without "
            "its folder and extension."},
    {KEY(run, output_dir), QG_KEY_PATH, MEMBER(run, output_dir), .fallback = "runs", .may_change = true,
     .doc = "Folder that holds the runs. Log, metrics and checkpoints of this one lie in output_dir/name."},
    {KEY(run, restart), QG_KEY_PATH, MEMBER(run, restart), .fallback = "auto", .may_change = true,
     .doc = "auto: go on from the newest checkpoint of the run that verifies, or start if there is none. "
            "scratch: start anew. Anything else: the path of the checkpoint to start from."},
    {KEY(run, overwrite), QG_KEY_BOOL, MEMBER(run, overwrite), .fallback = "no", .may_change = true,
     .doc = "Allow restart = scratch to replace a run that has checkpoints."},
    {KEY(run, max_walltime), QG_KEY_DURATION, MEMBER(run, max_walltime), .fallback = "0s",
     .range = "[0, 1e9]", .may_change = true,
     .doc = "Time limit of the job. The run saves and stops in time before it. 0s: no limit."},
    {KEY(run, log_every), QG_KEY_INT, MEMBER(run, log_every), .unit = "steps", .fallback = "1",
     .range = "[1, inf)", .may_change = true, .doc = "Steps between two lines of the log."},

    {KEY(run, max_bad_steps), QG_KEY_INT, MEMBER(run, max_bad_steps), .unit = "steps", .fallback = "20",
     .range = "[1, inf)", .may_change = true,
     .doc =
         "Steps with a non-finite loss or gradient in a row (each is skipped) after which the run gives up."},
    {KEY(run, nonfinite_partial), QG_KEY_ENUM, MEMBER(run, nonfinite_partial), .fallback = "rollback",
     .choices = nonfinite_partial_choices, .may_change = true, .former = "partial_step",
     .former_choices = nonfinite_partial_former,
     .doc = "A skipped step of which parts had reached the state, a subspace or a fused update, before the "
            "number that is not finite came up. rollback: the run goes back to its newest checkpoint and "
            "repeats the steps since then without it, to the same bits. keep: those parts stay and training "
            "goes on."},
    {KEY(run, spike_factor), QG_KEY_REAL, MEMBER(run, spike_factor), .fallback = "0", .range = "[0, 1e6]",
     .may_change = true,
     .doc = "A loss over spike_factor x the mean of the last 32 sends the run back to its newest checkpoint "
            "and leaves the data since then out. A value such as 1.5, above 1. 0: never."},
    {KEY(run, watchdog), QG_KEY_DURATION, MEMBER(run, watchdog), .fallback = "0s", .range = "[0, 1e9]",
     .may_change = true,
     .doc = "When no step, checkpoint or piece of a validation (a batch) finishes in this time, every rank "
            "says where it is and the job ends with exit code 6. Several times the longest. 0s: never."},

    /* model */
    {KEY(model, hidden_size), QG_KEY_INT, MEMBER(model, hidden_size), .range = "[2, 1048576]",
     .doc = "Width of the residual stream. A multiple of num_heads."},
    {KEY(model, intermediate_size), QG_KEY_INT, MEMBER(model, intermediate_size), .range = "[1, 4194304]",
     .doc = "Width of the MLP."},
    {KEY(model, num_layers), QG_KEY_INT, MEMBER(model, num_layers), .range = "[1, 4096]",
     .doc = "Decoder layers."},
    {KEY(model, num_heads), QG_KEY_INT, MEMBER(model, num_heads), .range = "[1, 65536]",
     .doc = "Attention heads. hidden_size / num_heads is the width of a head and must be even."},
    {KEY(model, num_kv_heads), QG_KEY_INT, MEMBER(model, num_kv_heads), .fallback = "0",
     .range = "[0, 65536]",
     .doc = "Key and value heads (grouped-query attention); a divisor of num_heads. 0: num_heads."},
    {KEY(model, vocab_size), QG_KEY_INT, MEMBER(model, vocab_size), .unit = "tokens", .fallback = "32000",
     .range = "[2, 16777216]", .doc = "Rows of the embedding and of the output head."},
    {KEY(model, tie_embeddings), QG_KEY_BOOL, MEMBER(model, tie_embeddings), .fallback = "no",
     .doc = "Use the embedding as output head."},
    {KEY(model, rope_theta), QG_KEY_REAL, MEMBER(model, rope_theta), .fallback = "10000", .range = "(1, inf)",
     .doc = "Base of the rotary embedding."},
    {KEY(model, rms_norm_eps), QG_KEY_REAL, MEMBER(model, rms_norm_eps), .fallback = "1e-06",
     .range = "(0, 1)", .doc = "Added to the variance in RMSNorm."},

    /* data */
    {KEY(data, train), QG_KEY_PATH, MEMBER(data, train), .may_change = true,
     .doc = "Token file to train on, relative to the working directory. A restart goes on at the same "
            "sequence number, so the file may move but its content must stay (on_change)."},
    {KEY(data, valid), QG_KEY_PATH, MEMBER(data, valid), .fallback = "", .may_change = true,
     .doc = "Token file for validation. Empty: none."},
    {KEY(data, on_change), QG_KEY_ENUM, MEMBER(data, on_change), .fallback = "refuse",
     .choices = on_change_choices, .may_change = true,
     .doc =
         "What a restart does when data.train holds other data than the checkpoint was trained on. refuse: "
         "nothing. continue: reads the new data from their beginning."},
    {KEY(data, different_tokenizers), QG_KEY_BOOL, MEMBER(data, different_tokenizers), .fallback = "no",
     .may_change = true, .doc = "Allow data.valid to be made with another tokenizer than data.train."},

    /* train */
    {KEY(train, steps), QG_KEY_INT, MEMBER(train, steps), .fallback = "10000", .range = "[1, 1000000000000]",
     .may_change = true, .doc = "Optimizer steps of the whole run. The learning rate schedule ends here."},
    {KEY(train, seed), QG_KEY_INT, MEMBER(train, seed), .fallback = "1", .range = "[0, 9007199254740992]",
     .doc = "Seed of every random number: initial weights, order of the data, stochastic rounding."},
    {KEY(train, sequence_length), QG_KEY_INT, MEMBER(train, sequence_length), .unit = "tokens",
     .fallback = "256", .range = "[1, 1048576]", .doc = "Tokens of one sequence."},
    {KEY(train, global_batch), QG_KEY_INT, MEMBER(train, global_batch), .unit = "sequences",
     .fallback = "512", .range = "[1, 1073741824]",
     .doc = "Sequences of one optimizer step. A multiple of micro_batch."},
    {KEY(train, micro_batch), QG_KEY_INT, MEMBER(train, micro_batch), .unit = "sequences", .fallback = "8",
     .range = "[1, 1073741824]", .may_change = true,
     .doc = "Sequences that go through a pipeline stage at once. Activation memory grows with it; the "
            "pipeline idles less the more micro-batches there are."},
    {KEY(train, activation_checkpointing), QG_KEY_BOOL, MEMBER(train, activation_checkpointing),
     .fallback = "no", .may_change = true,
     .doc = "Keep only the input of each layer and recompute the rest in the backward pass."},
    {KEY(train, activation_offload), QG_KEY_BOOL, MEMBER(train, activation_offload), .fallback = "no",
     .may_change = true,
     .doc = "With activation_checkpointing, layer inputs wait for the backward pass in host memory instead "
            "of the device's. Changes no result. No effect on the CPU."},
    {KEY(train, validate_every), QG_KEY_INT, MEMBER(train, validate_every), .unit = "steps", .fallback = "0",
     .range = "[0, inf)", .may_change = true,
     .doc = "Steps between two validations. 0: only at the end, if data.valid is given."},
    {KEY(train, validate_sequences), QG_KEY_INT, MEMBER(train, validate_sequences), .unit = "sequences",
     .fallback = "0", .range = "[0, inf)", .may_change = true,
     .doc = "Sequences of one validation, from the beginning of data.valid. 0: all."},
    {KEY(train, logit_chunk_tokens), QG_KEY_INT, MEMBER(train, logit_chunk_tokens), .unit = "tokens",
     .fallback = "512", .range = "[1, 1048576]", .may_change = true, .former = "loss_rows",
     .doc = "Tokens whose logits are alive at once: logit_chunk_tokens x vocab_size numbers of scratch."},
    {KEY(train, update), QG_KEY_ENUM, MEMBER(train, update), .fallback = "auto", .reference = "accumulated",
     .choices = update_choices, .may_change = true,
     .doc = "accumulated: gradients of the micro-batches add up, then every matrix is updated. fused: each "
            "matrix is updated as soon as backward has its gradient, whose memory all share; needs one "
            "micro-batch a step, and clips by the gradient norm of the step before. auto: fused with one "
            "micro-batch."},
    {KEY(train, accumulators), QG_KEY_ENUM, MEMBER(train, accumulators), .fallback = "fp32",
     .choices = dense_choices, .may_change = true,
     .doc = "Type in which gradients of matrices add up over micro-batches. With backend.precision = fp32 "
            "always fp32."},

    /* optimizer */
    {KEY(optimizer, method), QG_KEY_ENUM, MEMBER(optimizer, method), .fallback = "qgalore",
     .choices = method_choices,
     .doc = "adamw: full rank, 32-bit moments. adam8bit: full rank, 8-bit moments. galore: gradients of "
            "layer matrices projected to rank qgalore.rank. qgalore: also INT8 weights, INT4 projectors, "
            "8-bit moments and lazy refresh."},
    {KEY(optimizer, lr), QG_KEY_REAL, MEMBER(optimizer, lr), .fallback = "0.01", .range = "(0, 10]",
     .may_change = true, .doc = "Highest learning rate, reached after the warm-up."},
    {KEY(optimizer, beta1), QG_KEY_REAL, MEMBER(optimizer, beta1), .fallback = "0.9", .range = "[0, 1)",
     .doc = "Decay of the first moment."},
    {KEY(optimizer, beta2), QG_KEY_REAL, MEMBER(optimizer, beta2), .fallback = "0.95", .range = "[0, 1)",
     .doc = "Decay of the second moment."},
    {KEY(optimizer, eps), QG_KEY_REAL, MEMBER(optimizer, eps), .fallback = "1e-08", .range = "(0, 1)",
     .doc = "Added to the root of the second moment."},
    {KEY(optimizer, weight_decay), QG_KEY_REAL, MEMBER(optimizer, weight_decay), .fallback = "0",
     .range = "[0, 1]", .may_change = true, .doc = "Decoupled weight decay: W -= lr * weight_decay * W."},
    {KEY(optimizer, schedule), QG_KEY_ENUM, MEMBER(optimizer, schedule), .fallback = "cosine",
     .choices = schedule_choices, .may_change = true,
     .doc = "Learning rate after the warm-up. cosine, linear: falls until train.steps. constant: stays. wsd "
            "(warm-up, stable, decay): stays, and falls over the last decay_share of train.steps. With "
            "constant and wsd a run can be made longer without the rate rising again, with wsd before its "
            "decay has begun."},
    {KEY(optimizer, warmup_steps), QG_KEY_INT, MEMBER(optimizer, warmup_steps), .unit = "steps",
     .fallback = "0", .range = "[0, inf)", .may_change = true,
     .doc = "Steps in which the learning rate grows linearly, from lr / warmup_steps."},
    {KEY(optimizer, warmup_from_zero), QG_KEY_BOOL, MEMBER(optimizer, warmup_from_zero), .fallback = "no",
     .reference = "yes", .may_change = true,
     .doc = "Begin the warm-up with a rate of 0, so that the first step changes no weight."},
    {KEY(optimizer, min_lr_ratio), QG_KEY_REAL, MEMBER(optimizer, min_lr_ratio), .fallback = "0.1",
     .range = "[0, 1]", .may_change = true, .doc = "cosine, linear and wsd end at min_lr_ratio * lr."},
    {KEY(optimizer, decay_share), QG_KEY_REAL, MEMBER(optimizer, decay_share), .fallback = "0.2",
     .range = "[0, 1]", .may_change = true,
     .doc = "Share of train.steps, at their end, in which the rate of schedule = wsd falls."},
    {KEY(optimizer, grad_clip), QG_KEY_REAL, MEMBER(optimizer, grad_clip), .fallback = "1", .reference = "0",
     .range = "[0, inf)", .may_change = true,
     .doc = "Largest global norm of the gradient; larger ones are scaled down. 0: none."},
    {KEY(optimizer, moment_bits), QG_KEY_ENUM, MEMBER(optimizer, moment_bits), .fallback = "0",
     .choices = moment_bits_choices,
     .doc = "Bits of the moments of Adam. 0: by method (adamw and galore 32, adam8bit and qgalore 8). "
            "Tensors under 4096 elements keep 32."},
    {KEY(optimizer, moment_block), QG_KEY_INT, MEMBER(optimizer, moment_block), .unit = "elements",
     .fallback = "256", .reference = "2048", .range = "[16, 1048576]",
     .doc = "Elements of an 8-bit moment that share one scale."},
    {KEY(optimizer, clamp_second_moment), QG_KEY_BOOL, MEMBER(optimizer, clamp_second_moment),
     .fallback = "yes", .reference = "no", .may_change = true, .former = "bound_moments",
     .doc = "Keep the second moment at least at what the first allows. Exact moments obey that by "
            "themselves; 8-bit ones break it where gradients of one block differ by orders of magnitude, and "
            "the loss jumps."},
    {KEY(optimizer, dense_weights), QG_KEY_ENUM, MEMBER(optimizer, dense_type), .fallback = "bf16",
     .choices = dense_choices, .doc = "Storage of the weights that are not INT8."},

    /* qgalore */
    {KEY(qgalore, compat), QG_KEY_ENUM, MEMBER(qgalore, compat), .fallback = "none",
     .choices = compat_choices, .may_change = true,
     .doc = "reference: the keys that doc/method.md lists in section 13 get the values of the published code "
            "of Q-GaLore, defects included, for comparison. A key that is given wins over it."},
    {KEY(qgalore, rank), QG_KEY_INT, MEMBER(qgalore, rank), .fallback = "128", .range = "[1, 1048576]",
     .doc = "Rank of the projected gradients. At most the smallest dimension of a layer matrix."},
    {KEY(qgalore, scale), QG_KEY_REAL, MEMBER(qgalore, scale), .fallback = "0.25", .range = "(0, inf)",
     .may_change = true, .doc = "Factor of the update that is projected back."},
    {KEY(qgalore, update_gap), QG_KEY_INT, MEMBER(qgalore, update_gap), .unit = "steps", .fallback = "200",
     .range = "[1, 1000000000000]",
     .doc = "Steps between two refreshes of a projector at the beginning of the run."},
    {KEY(qgalore, max_update_gap), QG_KEY_INT, MEMBER(qgalore, max_update_gap), .unit = "steps",
     .fallback = "3200", .reference = "0", .range = "[0, 1000000000000]", .may_change = true,
     .doc = "Longest gap that lazy refresh may reach. 0: no limit."},
    {KEY(qgalore, lazy), QG_KEY_BOOL, MEMBER(qgalore, lazy), .fallback = "yes", .may_change = true,
     .doc = "Double the gap of a matrix whose subspace stays similar from refresh to refresh."},
    {KEY(qgalore, similarity), QG_KEY_ENUM, MEMBER(qgalore, similarity), .fallback = "overlap",
     .reference = "cosine", .choices = similarity_choices,
     .doc = "overlap: share of the new subspace that lies in the old one, blind to signs and order. cosine: "
            "signed cosine of the first singular vectors."},
    {KEY(qgalore, similarity_threshold), QG_KEY_REAL, MEMBER(qgalore, similarity_threshold),
     .fallback = "0.4", .range = "[-1, 1]", .may_change = true,
     .doc = "Mean similarity from which the gap doubles."},
    {KEY(qgalore, similarity_window), QG_KEY_INT, MEMBER(qgalore, similarity_window), .unit = "refreshes",
     .fallback = "5", .range = "[1, 16]", .doc = "Refreshes over which the similarity is averaged."},
    {KEY(qgalore, shrink_threshold), QG_KEY_REAL, MEMBER(qgalore, shrink_threshold), .fallback = "0",
     .range = "[0, 1]", .may_change = true,
     .doc = "Mean similarity under which a gap that had doubled halves again. 0: never."},
    {KEY(qgalore, rotate_moments), QG_KEY_BOOL, MEMBER(qgalore, rotate_moments), .fallback = "yes",
     .reference = "no", .may_change = true,
     .doc = "At a refresh, read the moments of Adam in the new subspace; no: keep their numbers in whatever "
            "basis comes."},
    {KEY(qgalore, project_head), QG_KEY_BOOL, MEMBER(qgalore, project_head), .fallback = "no",
     .doc = "Project the gradients of embedding and output head too. Their weights stay dense."},
    {KEY(qgalore, weight_bits), QG_KEY_ENUM, MEMBER(qgalore, weight_bits), .fallback = "0",
     .choices = weight_bits_choices,
     .doc = "Bits of the weights of projected matrices: 8 is INT8 in groups of 256. 0: by method (qgalore 8, "
            "else as optimizer.dense_weights)."},
    {KEY(qgalore, projector_bits), QG_KEY_ENUM, MEMBER(qgalore, projector_bits), .fallback = "0",
     .choices = projector_bits_choices,
     .doc = "Bits of the projectors: 4 is INT4 in groups of 256. 0: by method (qgalore 4, galore 32)."},
    {KEY(qgalore, stochastic_rounding), QG_KEY_BOOL, MEMBER(qgalore, stochastic_rounding), .fallback = "yes",
     .may_change = true,
     .doc = "Round stored weights up or down at random, so that small updates are not lost."},
    {KEY(qgalore, include_zero), QG_KEY_BOOL, MEMBER(qgalore, include_zero), .fallback = "yes",
     .reference = "no", .may_change = true,
     .doc = "The range of a quantised group always contains 0; groups of one sign keep their resolution."},
    {KEY(qgalore, bf16_arithmetic), QG_KEY_BOOL, MEMBER(qgalore, bf16_arithmetic), .fallback = "no",
     .reference = "yes", .may_change = true,
     .doc = "Round weight, update and their sum to bf16 before requantising."},
    {KEY(qgalore, full_gradient), QG_KEY_BOOL, MEMBER(qgalore, full_gradient), .fallback = "no",
     .reference = "yes", .may_change = true,
     .doc = "Form the whole gradient, then project it. no: accumulate the projected gradient directly, which "
            "is the same by associativity and needs less work and memory."},

    /* subspace */
    {KEY(subspace, method), QG_KEY_ENUM, MEMBER(subspace, method), .fallback = "auto", .reference = "exact",
     .choices = subspace_choices, .may_change = true,
     .doc =
         "exact: eigenvectors of the Gram matrix, by LAPACK. warm: subspace iteration from the old "
         "projector. randomized: from a random start. auto: warm where there is an old projector, else "
         "exact; for matrices whose smaller side is 2048 or more, subspace iteration alone. scalapack: all "
         "ranks together for matrices whose smaller side is at least distributed_min, auto for the others."},
    {KEY(subspace, min_energy), QG_KEY_REAL, MEMBER(subspace, min_energy), .fallback = "0.97",
     .range = "[0, 1]", .may_change = true,
     .doc = "A warm or randomised result that seems to capture less than this share of the best possible "
            "energy gets more iterations, then the exact method."},
    {KEY(subspace, validate), QG_KEY_BOOL, MEMBER(subspace, validate), .fallback = "no", .may_change = true,
     .doc = "A GPU that refreshes a projector also computes the singular vectors of the gradient, which is "
            "slow and takes memory; the log's end gives the largest loss of energy and the least overlap."},
    {KEY(subspace, distributed_min), QG_KEY_INT, MEMBER(subspace, distributed_min), .fallback = "4096",
     .range = "[1, 1073741824]", .may_change = true,
     .doc = "Smaller side of the matrices that method = scalapack gives to all ranks."},
    {KEY(subspace, stagger), QG_KEY_BOOL, MEMBER(subspace, stagger), .fallback = "yes", .reference = "no",
     .may_change = true,
     .doc = "Spread refreshes over the steps of a gap: after the first one, each matrix waits up to one gap "
            "longer. no: all at multiples of their gap."},
    {KEY(subspace, sample), QG_KEY_ENUM, MEMBER(subspace, sample), .fallback = "batch",
     .choices = sample_choices, .may_change = true,
     .doc = "Gradient that a refresh sees: of the whole batch, or of its first micro-batch. With several "
            "micro-batches a step, batch holds an fp32 gradient of every projected matrix for the whole run; "
            "micro_batch holds none."},

    /* parallel */
    {KEY(parallel, pipeline), QG_KEY_INT, MEMBER(parallel, pipeline), .unit = "stages", .fallback = "0",
     .range = "[0, 1024]", .may_change = true,
     .doc = "Pipeline stages, one a rank: any other number of ranks is an error. 0: as many as there are "
            "ranks."},
    {KEY(parallel, layers_per_stage), QG_KEY_INT_LIST, MEMBER(parallel, layers_per_stage),
     .count_offset = offsetof(qg_config, parallel.layers_per_stage_count), .unit = "layers", .fallback = "",
     .range = "[0, 4096]", .may_change = true,
     .doc = "Layers of each stage, as 7, 9, 9, 7; they add up to model.num_layers. Empty: balanced by cost."},
    {KEY(parallel, share_gpu), QG_KEY_BOOL, MEMBER(parallel, share_gpu), .fallback = "no", .may_change = true,
     .doc = "Ranks of one node may use the same GPU. It then holds the memory of all of them."},
    {KEY(parallel, transport), QG_KEY_ENUM, MEMBER(parallel, transport), .fallback = "auto",
     .choices = transport_choices, .may_change = true,
     .doc = "How activations travel between ranks with GPUs. device: MPI gets pointers to device memory. "
            "host: copies go through pinned host memory. auto: device if the MPI library says that it can "
            "and a test at the start agrees."},

    /* backend */
    {KEY(backend, name), QG_KEY_STRING, MEMBER(backend, name), .fallback = "auto", .choices = backend_choices,
     .may_change = true, .doc = "auto: cuda if it was built and there is a device, else cpu."},
    {KEY(backend, precision), QG_KEY_STRING, MEMBER(backend, precision), .fallback = "bf16",
     .choices = precision_choices, .may_change = true,
     .doc = "Type of activations and of the inputs of matrix products; sums are fp32."},
    {KEY(backend, attention), QG_KEY_ENUM, MEMBER(backend, attention), .fallback = "blocks",
     .choices = attention_choices, .may_change = true,
     .doc = "Attention of the cuda backend. blocks: products of cuBLAS, a block of scores at a time. fused: "
            "scores never leave the chip; for bf16 on sm_80 and up and head sizes of 16 to 128 in multiples "
            "of 16, blocks for others."},
    {KEY(backend, threads), QG_KEY_INT, MEMBER(backend, threads), .fallback = "0", .range = "[0, 4096]",
     .may_change = true, .doc = "CPU threads per rank. 0: the cores of the node over its ranks."},
    {KEY(backend, graphs), QG_KEY_BOOL, MEMBER(backend, graphs), .fallback = "no", .may_change = true,
     .doc = "Replay the forward pass of each layer as a CUDA graph, one launch in place of some thirty. For "
            "models whose layers take a GPU less time than their launches take the host; not measured yet."},

    /* checkpoint */
    {KEY(checkpoint, every), QG_KEY_INT, MEMBER(checkpoint, every), .unit = "steps", .fallback = "0",
     .range = "[0, inf)", .may_change = true, .doc = "Steps between two checkpoints. 0: none by steps."},
    {KEY(checkpoint, every_time), QG_KEY_DURATION, MEMBER(checkpoint, every_time), .fallback = "30m",
     .range = "[0, 1e9]", .may_change = true,
     .doc = "A checkpoint is also written when the last one is older than this. 0s: none by time. With every "
            "= 0 and "
            "every_time = 0s the only one is that at the end, and a rank that dies loses the whole run."},
    {KEY(checkpoint, retry_time), QG_KEY_DURATION, MEMBER(checkpoint, retry_time), .fallback = "10m",
     .range = "[0, 1e9]", .may_change = true,
     .doc = "How long the last save of a run tries again while the disk is full. A signal ends the wait, and "
            "so does "
            "run.max_walltime."},
    {KEY(checkpoint, keep_last), QG_KEY_INT, MEMBER(checkpoint, keep_last), .unit = "checkpoints",
     .fallback = "2", .range = "[1, 1000000]", .may_change = true, .doc = "The newest so many are kept."},
    {KEY(checkpoint, keep_every), QG_KEY_INT, MEMBER(checkpoint, keep_every), .unit = "steps",
     .fallback = "0", .range = "[0, inf)", .may_change = true,
     .doc = "Checkpoints whose step is a multiple are kept too. 0: none."},
    {KEY(checkpoint, layout), QG_KEY_ENUM, MEMBER(checkpoint, layout), .fallback = "shared",
     .choices = layout_choices, .may_change = true,
     .doc =
         "shared: all ranks write into one file. per_rank: each rank writes a file of its own beside it, for "
         "file systems where several nodes cannot write into one file. Either loads on any number of ranks."},
    {KEY(checkpoint, asynchronous), QG_KEY_ENUM, MEMBER(checkpoint, asynchronous), .fallback = "auto",
     .choices = asynchronous_choices, .may_change = true,
     .doc = "auto: if the part of a checkpoint of every rank fits into checkpoint.snapshot_memory, it is "
            "copied there, and the copy written while training goes on. no: training waits for every save. "
            "yes: as auto, but a snapshot that does not fit is an error."},
    {KEY(checkpoint, snapshot_memory), QG_KEY_SIZE, MEMBER(checkpoint, snapshot_memory), .fallback = "0",
     .range = "[0, inf)", .may_change = true,
     .doc = "Host memory that the copy may take on each rank; it is held for the whole run. 0: no copy."},
    {KEY(checkpoint, selftest), QG_KEY_BOOL, MEMBER(checkpoint, selftest), .fallback = "yes",
     .may_change = true, .former = "probe",
     .doc = "Store the loss of a few fixed tokens with every checkpoint, and refuse to go on from one whose "
            "loss is another after loading."},

    /* evaluate */
    {KEY(evaluate, checkpoint), QG_KEY_PATH, MEMBER(evaluate, checkpoint), .fallback = "auto",
     .may_change = true,
     .doc = "The checkpoint whose weights are evaluated. auto: the newest one of the run that verifies."},
    {KEY(evaluate, data), QG_KEY_PATH, MEMBER(evaluate, data), .fallback = "", .may_change = true,
     .doc = "Token files, separated by commas. Empty: data.valid."},
    {KEY(evaluate, micro_batch), QG_KEY_INT, MEMBER(evaluate, micro_batch), .unit = "sequences",
     .fallback = "0", .range = "[0, 1073741824]", .may_change = true,
     .doc =
         "Sequences that go through a pipeline stage at once. There is no backward pass, so more of them fit "
         "than in training. 0: train.micro_batch."},
    {KEY(evaluate, sequences), QG_KEY_INT, MEMBER(evaluate, sequences), .unit = "sequences", .fallback = "0",
     .range = "[0, inf)", .may_change = true,
     .doc = "Sequences of each file, from its beginning. 0: all."},
    {KEY(evaluate, output), QG_KEY_PATH, MEMBER(evaluate, output), .fallback = "", .may_change = true,
     .doc = "File for the results as JSON. Empty: they are in the log alone."},
};
const int qg_schema_count = QG_COUNT_OF(qg_schema);

_Static_assert(QG_COUNT_OF(qg_schema) <= QG_SCHEMA_KEYS_MAX, "raise QG_SCHEMA_KEYS_MAX");
_Static_assert(QG_TRACKER_WINDOW_MAX == 16, "the range of qgalore.similarity_window says 16");
_Static_assert(QG_MAX_STAGES == 1024, "the range of parallel.pipeline says 1024");
