/* Promises between ranks: agreement, the same sums everywhere, and messages of any length.
 * ranks: 1 2 4 8
 * also with: QGALORE_PAR_CHUNK=1000
 * also with: QGALORE_PAR_CHUNK=7 QGALORE_PAR_SYNCHRONOUS=1 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "support/fixtures/mpi_test.h"
#include "qgalore/base.h"
#include "qgalore/par/mpi.h"

static qg_par *par;
static const qg_grid *grid;

static void the_grid_is_one_pipeline_of_all_ranks(void **state)
{
  (void)state;
  assert_int_equal(grid->size, grid->stages * grid->replicas);
  assert_int_equal(grid->rank, grid->replica * grid->stages + grid->stage);
  assert_int_equal(grid->replicas, 1);
  assert_in_range(grid->local_rank, 0, grid->local_size - 1);
  assert_true(grid->local_size <= grid->size);
  assert_true(strlen(grid->host) > 0);
  assert_true(qg_par_is_root(grid) == (grid->rank == 0));
}

static void the_communicator_is_our_own_and_not_cartesian(void **state)
{
  (void)state;
  int relation, topology;
  assert_int_equal(MPI_Comm_compare(qg_par_comm(par), MPI_COMM_WORLD, &relation), MPI_SUCCESS);
  assert_int_equal(relation, MPI_CONGRUENT);
  assert_int_equal(MPI_Topo_test(qg_par_comm(par), &topology), MPI_SUCCESS);
  assert_int_equal(topology, MPI_UNDEFINED);
}

static void agreement_of_the_content_is_content(void **state)
{
  (void)state;
  assert_int_equal(qg_par_agree(par, QG_OK), QG_OK);
}

/* Every rank in turn is the lowest that fails; a higher one fails with it, in another way. */
static void the_lowest_failing_rank_speaks_for_all(void **state)
{
  (void)state;
  for (int lowest = 0; lowest < grid->size; lowest++) {
    char expected[64];
    qg_status mine = QG_OK;
    qg_error_clear();
    if (grid->rank == lowest) mine = QG_FAIL(QG_ERR_INPUT, "no file %d", lowest);
    if (grid->rank == lowest + 1) mine = QG_FAIL(QG_ERR_RESOURCE, "no memory");
    assert_int_equal(qg_par_agree(par, mine), QG_ERR_INPUT);
    if (grid->size > 1) snprintf(expected, sizeof expected, "rank %d: no file %d", lowest, lowest);
    else
      snprintf(expected, sizeof expected, "no file 0");
    assert_string_equal(qg_error_message(), expected);
  }
}

static void an_agreed_failure_keeps_its_first_rank(void **state)
{
  (void)state;
  int last = grid->size - 1;
  qg_status mine = grid->rank == last ? QG_FAIL(QG_ERR_INPUT, "no file") : QG_OK;
  qg_status agreed = qg_par_agree(par, mine);
  char first[64];
  snprintf(first, sizeof first, "%s", qg_error_message());
  assert_int_equal(qg_par_agree(par, agreed), QG_ERR_INPUT);
  assert_string_equal(qg_error_message(), first);
}

/* Terms whose sum depends on the order: the promise is rank order, to the bit. */
static double term(int rank, int i)
{
  return (rank % 2 ? -1.0 : 1.0) * pow(10.0, (rank * 7 + i) % 17) + 0.1 * i;
}

static void sums_run_in_rank_order_to_the_bit(void **state)
{
  (void)state;
  enum { COUNT = 2500 };
  static double values[COUNT], expected[COUNT];
  for (int i = 0; i < COUNT; i++) {
    values[i] = term(grid->rank, i);
    expected[i] = term(0, i);
    for (int r = 1; r < grid->size; r++) expected[i] += term(r, i);
  }
  assert_int_equal(qg_par_sum(par, values, COUNT), QG_OK);
  assert_memory_equal(values, expected, sizeof values);
  assert_int_equal(qg_par_sum(par, values, 0), QG_OK);
}

static void extremes_are_found_and_nan_is_not_hidden(void **state)
{
  (void)state;
  for (int odd = 0; odd < grid->size; odd++) {
    double high[2] = {grid->rank, grid->rank == odd ? NAN : 1}, low[2] = {-grid->rank, high[1]};
    assert_int_equal(qg_par_max(par, high, 2), QG_OK);
    assert_int_equal(qg_par_min(par, low, 2), QG_OK);
    assert_true(high[0] == grid->size - 1 && low[0] == 1 - grid->size);
    assert_true(isnan(high[1]) && isnan(low[1]));
  }
}

static void fill(unsigned char *data, size_t bytes, int key)
{
  for (size_t i = 0; i < bytes; i++) data[i] = (unsigned char)(i * 31 + i / 256 * 7 + (size_t)key * 113);
}

enum { LONG_MESSAGE = 3 * 1000 + 17 };

static void a_broadcast_reaches_everybody_from_any_root(void **state)
{
  (void)state;
  unsigned char data[LONG_MESSAGE], expected[LONG_MESSAGE];
  for (int root = 0; root < grid->size; root++) {
    fill(expected, sizeof expected, root);
    fill(data, sizeof data, grid->rank == root ? root : 99);
    assert_int_equal(qg_par_broadcast(par, data, sizeof data, root), QG_OK);
    assert_memory_equal(data, expected, sizeof data);
  }
  assert_int_equal(qg_par_broadcast(par, NULL, 0, 0), QG_OK);
}

static void a_gather_keeps_rank_order(void **state)
{
  (void)state;
  int mine[2] = {grid->rank, 10 * grid->rank}, root = grid->size - 1, all[2 * 8];
  assert_in_range(grid->size, 1, 8);
  assert_int_equal(qg_par_gather(par, mine, sizeof mine, grid->rank == root ? all : NULL, root), QG_OK);
  for (int r = 0; grid->rank == root && r < grid->size; r++) {
    assert_int_equal(all[2 * r], r);
    assert_int_equal(all[2 * r + 1], 10 * r);
  }
  assert_int_equal(qg_par_barrier(par), QG_OK);
}

/* --- transfers --- */

/* Every rank sends to the next stage and receives from the one before, around the ring (alone: to itself). */
static void pass_around(size_t capacity, size_t bytes)
{
  qg_transfer *out, *in;
  unsigned char *sent = malloc(bytes + 1), *got = calloc(1, bytes + 1), *expected = malloc(bytes + 1);
  int next = (grid->stage + 1) % grid->stages, before = (grid->stage + grid->stages - 1) % grid->stages;
  assert_true(sent && got && expected);
  fill(sent, bytes, grid->stage);
  fill(expected, bytes, before);
  assert_int_equal(qg_transfer_create(par, capacity, &out), QG_OK);
  assert_int_equal(qg_transfer_create(par, capacity, &in), QG_OK);
  for (int round = 0; round < 2; round++) {
    assert_int_equal(qg_transfer_receive(in, got, bytes, before, 5), QG_OK);
    assert_int_equal(qg_transfer_send(out, sent, bytes, next, 5), QG_OK);
    assert_true(qg_transfer_is_active(in) && qg_transfer_is_active(out));
    assert_int_equal(qg_transfer_wait(in), QG_OK);
    assert_int_equal(qg_transfer_wait(out), QG_OK);
    assert_false(qg_transfer_is_active(in) || qg_transfer_is_active(out));
    assert_memory_equal(got, expected, bytes);
  }
  qg_transfer_free(out);
  qg_transfer_free(in);
  free(sent);
  free(got);
  free(expected);
}

static void messages_of_any_length_arrive_whole(void **state)
{
  (void)state;
  pass_around(0, 0);
  pass_around(100, 0);
  pass_around(1, 1);
  pass_around(LONG_MESSAGE, 999);
  pass_around(LONG_MESSAGE, 1000);
  pass_around(LONG_MESSAGE, 1001);
  pass_around(LONG_MESSAGE, LONG_MESSAGE);
}

/* Two messages under way in one direction: tags tell them apart, whatever the order of the receives. */
static void tags_tell_messages_apart(void **state)
{
  (void)state;
  qg_transfer *slot[4];
  unsigned char sent[2][2100], got[2][2100];
  for (int i = 0; i < 4; i++) assert_int_equal(qg_transfer_create(par, 2100, &slot[i]), QG_OK);
  for (int i = 0; i < 2; i++) {
    int tag = i ? 7 : 6;
    fill(sent[i], 2100, tag);
    assert_int_equal(qg_transfer_send(slot[i], sent[i], 2100, (grid->stage + 1) % grid->stages, tag), QG_OK);
  }
  for (int i = 1; i >= 0; i--) {
    int tag = i ? 7 : 6, before = (grid->stage + grid->stages - 1) % grid->stages;
    assert_int_equal(qg_transfer_receive(slot[2 + i], got[i], 2100, before, tag), QG_OK);
  }
  for (int i = 0; i < 4; i++) assert_int_equal(qg_transfer_wait(slot[i]), QG_OK);
  assert_memory_equal(got, sent, sizeof got);
  for (int i = 0; i < 4; i++) qg_transfer_free(slot[i]);
}

static void a_slot_refuses_what_it_cannot_do(void **state)
{
  (void)state;
  qg_transfer *slot;
  char buffer[16];
  assert_int_equal(qg_transfer_create(par, 8, &slot), QG_OK);
  assert_int_equal(qg_transfer_wait(slot), QG_OK);
  assert_int_equal(qg_transfer_send(slot, buffer, 9, grid->stage, 0), QG_ERR_RUNTIME);
  assert_int_equal(qg_transfer_send(slot, buffer, 8, grid->stages, 0), QG_ERR_RUNTIME);
  assert_int_equal(qg_transfer_receive(slot, buffer, 8, -1, 0), QG_ERR_RUNTIME);
  assert_false(qg_transfer_is_active(slot));
  assert_int_equal(qg_transfer_receive(slot, buffer, 8, grid->stage, 0), QG_OK);
  assert_int_equal(qg_transfer_receive(slot, buffer, 8, grid->stage, 0), QG_ERR_RUNTIME);
  assert_non_null(strstr(qg_error_message(), "qg_transfer_wait"));
  qg_transfer_free(slot); /* a failed run gives up a receive that no rank answers */
  qg_transfer_free(NULL);
}

/* To oneself; lengths of one piece each. */
static void a_shorter_message_is_an_error(void **state)
{
  (void)state;
  qg_transfer *out, *in;
  char buffer[6] = {0}, got[6];
  assert_int_equal(qg_transfer_create(par, 6, &out), QG_OK);
  assert_int_equal(qg_transfer_create(par, 6, &in), QG_OK);
  assert_int_equal(qg_transfer_receive(in, got, 6, grid->stage, 1), QG_OK);
  assert_int_equal(qg_transfer_send(out, buffer, 5, grid->stage, 1), QG_OK);
  assert_int_equal(qg_transfer_wait(in), QG_ERR_RUNTIME);
  assert_non_null(strstr(qg_error_message(), "sent 5 bytes"));
  assert_int_equal(qg_transfer_wait(out), QG_OK);
  qg_transfer_free(out);
  qg_transfer_free(in);
}

/* A negative tag is an error of MPI itself. */
static void an_error_of_mpi_is_told_in_its_words(void **state)
{
  (void)state;
  qg_transfer *slot;
  char byte = 0;
  assert_int_equal(qg_transfer_create(par, 1, &slot), QG_OK);
  assert_int_equal(qg_transfer_send(slot, &byte, 1, grid->stage, -5), QG_ERR_RUNTIME);
  assert_non_null(strstr(qg_error_message(), "MPI_ERR_TAG"));
  assert_int_equal(qg_transfer_wait(slot), QG_OK);
  qg_transfer_free(slot);
}

/* Stage 1 is late with its receive: a synchronous send of stage 0 may not be over before. */
static void a_synchronous_send_waits_for_its_receiver(void **state)
{
  (void)state;
  qg_transfer *slot;
  char byte = 0;
  double event = 0, events[8];
  if (!getenv("QGALORE_PAR_SYNCHRONOUS") || grid->size < 2) skip();
  assert_int_equal(qg_transfer_create(par, 1, &slot), QG_OK);
  assert_int_equal(qg_par_barrier(par), QG_OK);
  if (grid->stage == 0) {
    assert_int_equal(qg_transfer_send(slot, &byte, 1, 1, 3), QG_OK);
    assert_int_equal(qg_transfer_wait(slot), QG_OK);
    event = qg_now();
  } else if (grid->stage == 1) {
    usleep(50000);
    event = qg_now();
    assert_int_equal(qg_transfer_receive(slot, &byte, 1, 0, 3), QG_OK);
    assert_int_equal(qg_transfer_wait(slot), QG_OK);
  }
  assert_int_equal(qg_par_gather(par, &event, sizeof event, events, 0), QG_OK);
  if (grid->rank == 0) assert_true(events[0] >= events[1]);
  qg_transfer_free(slot);
}

int main(int argc, char **argv)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(the_grid_is_one_pipeline_of_all_ranks),
      cmocka_unit_test(the_communicator_is_our_own_and_not_cartesian),
      cmocka_unit_test(agreement_of_the_content_is_content),
      cmocka_unit_test(the_lowest_failing_rank_speaks_for_all),
      cmocka_unit_test(an_agreed_failure_keeps_its_first_rank),
      cmocka_unit_test(sums_run_in_rank_order_to_the_bit),
      cmocka_unit_test(extremes_are_found_and_nan_is_not_hidden),
      cmocka_unit_test(a_broadcast_reaches_everybody_from_any_root),
      cmocka_unit_test(a_gather_keeps_rank_order),
      cmocka_unit_test(messages_of_any_length_arrive_whole),
      cmocka_unit_test(tags_tell_messages_apart),
      cmocka_unit_test(a_slot_refuses_what_it_cannot_do),
      cmocka_unit_test(a_shorter_message_is_an_error),
      cmocka_unit_test(an_error_of_mpi_is_told_in_its_words),
      cmocka_unit_test(a_synchronous_send_waits_for_its_receiver),
  };
  par = mpi_test_begin(&argc, &argv);
  grid = qg_par_grid(par);
  int failures = cmocka_run_group_tests_name("par", tests, NULL, NULL);
  return mpi_test_end(par, failures);
}
