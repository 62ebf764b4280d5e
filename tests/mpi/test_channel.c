/* Messages between the devices of two stages arrive whole, through host memory and by device pointers, in
 * every order that events allow; and a wait that is left out is found. Devices are emulated, with streams in
 * random turns.
 * ranks: 2
 * also with: CUDAEMU_SEED=2 QGALORE_PAR_CHUNK=1000
 * also with: CUDAEMU_SEED=3 QGALORE_PAR_SYNCHRONOUS=1 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>

#include "support/fixtures/assert_ok.h"
#include "support/fixtures/faulty_device.h"
#include "support/fixtures/mpi_test.h"
#include "qgalore/base.h"
#include "train/channel.h"

enum { MESSAGES = 24, ELEMENTS = 600, TAG_DOWN = 1, TAG_UP = 2 };

static qg_par *par;

static faulty_device device;

static qg_status call_all_reached(qg_backend *be, qg_event *event, bool *reached)
{
  (void)be, (void)event;
  *reached = true;
  return QG_OK;
}

/* A stage at one end: what it sends and what it has received, [MESSAGES, ELEMENTS], and its memory, which
 * each message passes through and the next one overwrites. */
typedef struct {
  qg_mem *mem;
  qg_channel in, out;
  qg_view sent, received, leaving, arriving;
} end;

static float value(int stage, int message, int element)
{
  return (float)(stage * 1000003 + message * ELEMENTS + element);
}

static void fill(qg_view view)
{
  static float host[MESSAGES * ELEMENTS];
  int stage = qg_par_grid(par)->stage;
  for (int i = 0; i < MESSAGES * ELEMENTS; i++) host[i] = value(stage, i / ELEMENTS, i % ELEMENTS);
  assert_ok(device.ops.copy_in(&device.be, view.data, host, sizeof host));
}

static void open_end(end *e, bool device_pointers)
{
  bool first = qg_par_grid(par)->stage == 0;
  qg_channel_request request = {.peer = first ? 1 : 0,
                                .tag = first ? TAG_DOWN : TAG_UP,
                                .device_pointers = device_pointers,
                                .type = QG_F32,
                                .elements = ELEMENTS};
  assert_ok(qg_mem_create(&device.be, &e->mem));
  assert_ok(qg_channel_create(e->mem, par, &device.be, &request, &e->out));
  request.tag = first ? TAG_UP : TAG_DOWN;
  request.receives = true;
  assert_ok(qg_channel_create(e->mem, par, &device.be, &request, &e->in));
  qg_channel_join(&e->in, &e->out);
  assert_ok(qg_mem_view(e->mem, QG_OWNER_DATA, "sent", QG_F32, MESSAGES, ELEMENTS, &e->sent));
  assert_ok(qg_mem_view(e->mem, QG_OWNER_DATA, "received", QG_F32, MESSAGES, ELEMENTS, &e->received));
  assert_ok(qg_mem_view(e->mem, QG_OWNER_DATA, "leaving", QG_F32, 1, ELEMENTS, &e->leaving));
  assert_ok(qg_mem_view(e->mem, QG_OWNER_DATA, "arriving", QG_F32, 1, ELEMENTS, &e->arriving));
  fill(e->sent);
}

static void close_end(end *e)
{
  qg_channel_destroy(&e->in);
  qg_channel_destroy(&e->out);
  qg_mem_destroy(e->mem);
}

static void send(end *e, int message)
{
  assert_ok(device.ops.convert(&device.be, e->leaving, qg_view_rows(e->sent, message, 1)));
  assert_ok(qg_channel_send(&e->out, e->leaving.data));
}

static void receive(end *e, int message)
{
  assert_ok(qg_channel_receive(&e->in, e->arriving.data));
  assert_ok(device.ops.convert(&device.be, qg_view_rows(e->received, message, 1), e->arriving));
}

/* The first stage is a message ahead, as in a pipeline. */
static void exchange(end *e)
{
  bool first = qg_par_grid(par)->stage == 0;
  if (first) send(e, 0);
  for (int i = 0; i < MESSAGES; i++) {
    if (first && i + 1 < MESSAGES) send(e, i + 1);
    receive(e, i);
    if (!first) send(e, i);
  }
}

/* As in a validation. Nothing that a stage sends makes it wait for what it has received. */
static void stream_down(end *e)
{
  for (int i = 0; i < MESSAGES; i++)
    if (qg_par_grid(par)->stage == 0) send(e, i);
    else
      receive(e, i);
}

static void run_step(end *e, void (*pass)(end *))
{
  assert_ok(qg_channel_begin(&e->in, e->in.shape.tag == TAG_UP && pass == stream_down ? 0 : MESSAGES));
  assert_ok(qg_channel_begin(&e->out, MESSAGES));
  pass(e);
  assert_ok(qg_channel_drain(&e->out));
}

static int count_wrong(const end *e)
{
  static float host[MESSAGES * ELEMENTS];
  int peer = 1 - qg_par_grid(par)->stage, wrong = 0;
  assert_ok(device.ops.copy_out(&device.be, host, e->received.data, sizeof host));
  for (int i = 0; i < MESSAGES * ELEMENTS; i++) wrong += host[i] != value(peer, i / ELEMENTS, i % ELEMENTS);
  return wrong;
}

/* Wrong elements on both ranks after an exchange and after messages in one direction. */
static int wrong_elements(bool device_pointers)
{
  end e;
  setenv("CUDAEMU_OPEN", device_pointers ? "1" : "0", 1);
  open_end(&e, device_pointers);
  run_step(&e, exchange);
  double wrong = count_wrong(&e);
  if (qg_par_grid(par)->stage > 0)
    assert_ok(device.ops.zero(&device.be, e.received.data, MESSAGES * ELEMENTS * sizeof(float)));
  run_step(&e, stream_down);
  wrong += count_wrong(&e);
  assert_ok(qg_par_sum(par, &wrong, 1));
  close_end(&e);
  return (int)wrong;
}

static int make_no_mistake(void **state)
{
  (void)state;
  device.async = *device.real->ops->async;
  return 0;
}

static void messages_arrive_through_host_memory(void **state)
{
  (void)state;
  assert_int_equal(wrong_elements(false), 0);
}

static void messages_arrive_by_device_pointers(void **state)
{
  (void)state;
  assert_int_equal(wrong_elements(true), 0);
}

static void a_stage_that_reads_before_the_copy_is_found(void **state)
{
  (void)state;
  device.async.wait_event = wait_for_nothing;
  assert_true(wrong_elements(false) > 0);
}

static void a_copy_out_before_the_message_is_there_is_found(void **state)
{
  (void)state;
  device.async.copy_out = copy_out_at_once;
  assert_true(wrong_elements(false) > 0);
}

static void a_copy_in_over_a_message_that_is_still_read_is_found(void **state)
{
  (void)state;
  device.async.copy_in = copy_in_at_once;
  assert_true(wrong_elements(false) > 0);
}

static void messages_handed_to_mpi_too_early_are_found(void **state)
{
  (void)state;
  device.async.query = call_all_reached;
  assert_true(wrong_elements(false) > 0);
  assert_true(wrong_elements(true) > 0);
}

static void open_device(void)
{
  setenv("CUDAEMU_SEED", "1", 0);
  if (!faulty_device_open("fp32", &device)) qg_par_abort(par, QG_ERR_RUNTIME);
}

int main(int argc, char **argv)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup(messages_arrive_through_host_memory, make_no_mistake),
      cmocka_unit_test_setup(messages_arrive_by_device_pointers, make_no_mistake),
      cmocka_unit_test_setup(a_stage_that_reads_before_the_copy_is_found, make_no_mistake),
      cmocka_unit_test_setup(a_copy_out_before_the_message_is_there_is_found, make_no_mistake),
      cmocka_unit_test_setup(a_copy_in_over_a_message_that_is_still_read_is_found, make_no_mistake),
      cmocka_unit_test_setup(messages_handed_to_mpi_too_early_are_found, make_no_mistake),
  };
  if (getenv("QGALORE_CUDA_PLUGIN")) {
    printf("1..0 # SKIP only the emulation chooses the order\n");
    return 0;
  }
  par = mpi_test_begin(&argc, &argv);
  open_device();
  int failures = cmocka_run_group_tests_name("channel", tests, NULL, NULL);
  device.real->close(device.real);
  return mpi_test_end(par, failures);
}
