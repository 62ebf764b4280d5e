/* Tokens: where they come from, in which order, and where we are.
 *
 * A token file (HDF5, doc/formats.md) holds one long sequence of token ids with document offsets. It is cut into
 * sequences of sequence_length + 1 tokens that overlap by one (inputs and shifted targets). Sequence order is
 * a counter-based permutation per epoch, a function of (seed, epoch, index) only, so it does not
 * depend on ranks, batch sizes or restarts: the cursor is one number, sequences consumed. */
#ifndef QGALORE_DATA_H
#define QGALORE_DATA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "qgalore/base/status.h"

typedef struct qg_tokens qg_tokens;

typedef struct {
  int64_t tokens, documents;
  int64_t vocab_size;
  int64_t text_bytes;         /* UTF-8 bytes that the tokens encode, for bits per byte; 0 if unknown */
  char tokenizer_hash[72];    /* SHA-256 of the SentencePiece model, "" if unknown */
  char content_id[72];        /* SHA-256 of the checksums of the tokens; of random tokens their seed */
} qg_tokens_info;

/* Opens a token file and checks its header and sizes; no token is read. The checksum of a block of tokens, and the range of
 * its ids against vocab_size (0: the file's own), are checked when the block is first read. QG_ERR_INPUT: missing,
 * truncated, not a token file. "random:N" as a path gives N uniform tokens keyed by seed (for benches; vocab_size > 0).
 * Local: the caller agrees. */
qg_status qg_tokens_open(const char *path, int64_t vocab_size, uint64_t seed, qg_tokens **out);
/* Whether `path` is "random:N" rather than a file. Pure. */
bool qg_tokens_is_random(const char *path);
void qg_tokens_close(qg_tokens *tokens);
const qg_tokens_info *qg_tokens_get_info(const qg_tokens *tokens);

/* Reads everything: all checksums, all ids, the offsets of documents. QG_ERR_INPUT names the first damage. Local. */
qg_status qg_tokens_check(qg_tokens *tokens);
/* Bytes of the file that were read since it was opened, for tests. */
int64_t qg_tokens_bytes_read(const qg_tokens *tokens);

/* Bytes of host memory that a reader holds, for the ledger. */
size_t qg_tokens_buffer_bytes(void);

/* Reads count ids from position `first` into out. QG_ERR_INPUT at the end of the file, and where it is damaged or an id is outside
 * the vocabulary (names the place). Local. */
qg_status qg_tokens_read(qg_tokens *tokens, int64_t first, int64_t count, int32_t *out);

/* Full sequences in a file: (tokens - 1) / sequence_length. */
int64_t qg_tokens_sequences(const qg_tokens *tokens, int64_t sequence_length);

/* Position of `index` under the permutation of [0, count) keyed by (seed, epoch): a Feistel network on Philox with cycle
 * walking. A bijection for every count >= 1. Local, pure. */
int64_t qg_shuffle(uint64_t seed, int64_t epoch, int64_t count, int64_t index);

/* One training batch by cursor. Sequence number `cursor + i` of the run is sequence
 * qg_shuffle(seed, k / count, count, k % count) with k = cursor + i. Fills inputs and targets, each int32
 * [sequences, sequence_length]; either may be NULL. Local. */
qg_status qg_batch_read(qg_tokens *tokens, uint64_t seed, int64_t cursor, int64_t sequences,
                        int64_t sequence_length, int32_t *inputs, int32_t *targets);

/* The same in file order without shuffling, for validation: sequences first .. first + wanted, in `sequences` rows; rows past
 * those and past the last full one (qg_tokens_sequences) have inputs 0 and targets -1. The tokens after the last full sequence are never read, so the
 * result of a validation does not depend on the batch size. Returns the number of real targets in *counted. Local. */
qg_status qg_batch_read_in_order(qg_tokens *tokens, int64_t first, int64_t wanted, int64_t sequences, int64_t sequence_length,
                              int32_t *inputs, int32_t *targets, int64_t *counted);

/* Entropy in nats per token of the unigram distribution of the first `tokens` of the file, at most all. Local. */
qg_status qg_tokens_unigram_entropy(qg_tokens *tokens, int64_t count, double *out);

/* Writer, for qgalore_tok. The ids are kept in an unnamed file beside `path` until their number is known, so memory
 * stays small and nothing is left behind when the program dies. */
typedef struct qg_tokens_writer qg_tokens_writer;
typedef struct {
  int64_t vocab_size;
  char tokenizer_hash[72];
  const char *provenance;     /* free text: command, sources; copied, NULL is "" */
} qg_tokens_header;
/* QG_ERR_INPUT: a vocabulary outside 1 .. 2^24; QG_ERR_RESOURCE: the folder of `path` cannot be written. Local. */
qg_status qg_tokens_create(const char *path, const qg_tokens_header *header, qg_tokens_writer **out);
/* Appends one document (its ids, with BOS/EOS as the caller wants) and the bytes of text it stands for. A document without
 * ids is left out. QG_ERR_INPUT: an id outside the vocabulary. Local. */
qg_status qg_tokens_append(qg_tokens_writer *writer, const int32_t *ids, int64_t count, int64_t text_bytes);
/* Adds to the last document (to the first, if there is none yet), for documents too long to hold at once. Local. */
qg_status qg_tokens_extend(qg_tokens_writer *writer, const int32_t *ids, int64_t count, int64_t text_bytes);
/* Completes the file (temporary name -> fsync -> rename). QG_ERR_INPUT if there are no tokens. Frees the writer in any case;
 * after a failure an older file of that name is untouched. Local. */
qg_status qg_tokens_finish(qg_tokens_writer *writer);
/* Frees the writer and writes nothing; NULL is fine. Local. */
void qg_tokens_discard(qg_tokens_writer *writer);

#endif
