/* Opening a device, and the reasons why there is none. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cuda/cuda_backend.h"
#include "qgalore/base.h"

/* Three arguments: the device, and the tensor if there is one. */
#define NAME_PLACE(be) \
  qg_cuda_of(be)->place, (be)->tensor ? ", tensor " : "", (be)->tensor ? (be)->tensor : ""

qg_status qg_cuda_fail(qg_backend *be, cudaError_t error, const char *call, const char *file, int line,
                       const char *func)
{
  qg_status status = error == cudaErrorMemoryAllocation ? QG_ERR_RESOURCE : QG_ERR_RUNTIME;
  return qg_error_raise(status, file, line, func, "%s at %s:%d failed on %s%s%s: %s (%s)", call, file, line,
                        NAME_PLACE(be), cudaGetErrorName(error), cudaGetErrorString(error));
}

qg_status qg_cublas_fail(qg_backend *be, cublasStatus_t error, const char *call, const char *file, int line,
                         const char *func)
{
  return qg_error_raise(QG_ERR_RUNTIME, file, line, func, "%s at %s:%d failed on %s%s%s: %s", call, file,
                        line, NAME_PLACE(be), cublasGetStatusName(error));
}

qg_status qg_cusolver_fail(qg_backend *be, cusolverStatus_t error, const char *call, const char *file,
                           int line, const char *func)
{
  return qg_error_raise(QG_ERR_RUNTIME, file, line, func, "%s at %s:%d failed on %s%s%s: cuSOLVER status %d",
                        call, file, line, NAME_PLACE(be), (int)error);
}

/* "13.0" of CUDA's 13000. */
static void version_text(int version, char *text, size_t size)
{
  snprintf(text, size, "%d.%d", version / 1000, version % 1000 / 10);
}

enum { SUMS_BYTES = (QG_CUDA_SUM_BLOCKS + QG_CUDA_SUMS) * sizeof(double) };

/* What NVIDIA's driver and libraries take of a device, and what of it may come after the first products:
 * kernels are loaded at their first use. Both allowances are generous ones. */
static const size_t ALLOWANCE = (size_t)768 << 20, MARGIN = (size_t)192 << 20;

/* 16 MiB of fp32 stay in a second-level cache of 40 to 60 MiB from the product to the kernel that adds them,
 * and 128 x 256 is a tile of such products: one for each of the 108 to 132 multiprocessors. */
enum { UPDATE_ELEMENTS = 1 << 22 };

/* Kernels copy asynchronously and multiply bf16 on tensor cores (sm_80). */
enum { LEAST_MAJOR = 8 };

static qg_status explain_driver(void)
{
  int driver = 0;
  char has[16], wants[16];
  QG_CHECK(cudaDriverGetVersion(&driver) == cudaSuccess && driver > 0, QG_ERR_RESOURCE,
           "no NVIDIA driver is installed here");
  version_text(driver, has, sizeof has);
  version_text(CUDART_VERSION, wants, sizeof wants);
  return QG_FAIL(QG_ERR_RESOURCE, "the NVIDIA driver is too old: it is of CUDA %s, this build needs %s", has,
                 wants);
}

static qg_status count_devices(int *count)
{
  *count = 0; /* left alone where there is no driver */
  cudaError_t error = cudaGetDeviceCount(count);
  const char *visible = getenv("CUDA_VISIBLE_DEVICES");
  if (error == cudaErrorInsufficientDriver) return explain_driver();
  QG_CHECK((error == cudaSuccess || error == cudaErrorNoDevice), QG_ERR_RESOURCE,
           "the NVIDIA devices cannot be counted: %s (%s)", cudaGetErrorName(error),
           cudaGetErrorString(error));
  QG_CHECK(*count > 0, QG_ERR_RESOURCE, "no NVIDIA device is visible%s%s",
           visible ? ", CUDA_VISIBLE_DEVICES=" : "", visible ? visible : "");
  return QG_OK;
}

/* CUDA has two error codes for it. */
static bool lacks_code(cudaError_t error)
{
  return error == cudaErrorNoKernelImageForDevice || error == cudaErrorInvalidDeviceFunction;
}

/* Selects the device of this process; QG_ERR_RESOURCE if this build has no code for it. from_ptx: see
 * qg_k_probe. */
static qg_status select_device(int device, struct cudaDeviceProp *properties, bool *from_ptx)
{
  cudaError_t error = cudaSetDevice(device);
  if (error == cudaSuccess) error = cudaGetDeviceProperties(properties, device);
  QG_CHECK(error == cudaSuccess, QG_ERR_RESOURCE, "NVIDIA device %d cannot be used: %s (%s)", device,
           cudaGetErrorName(error), cudaGetErrorString(error));
  QG_CHECK(properties->major >= LEAST_MAJOR, QG_ERR_RESOURCE,
           "device %d, %s, has compute capability %d.%d, and the kernels need %d.0", device, properties->name,
           properties->major, properties->minor, LEAST_MAJOR);
  error = qg_k_probe(from_ptx);
  QG_CHECK(!lacks_code(error), QG_ERR_RESOURCE,
           "this build has no code for device %d, %s of compute capability %d.%d (make cuda CUDA_ARCH=%d%d)",
           device, properties->name, properties->major, properties->minor, properties->major,
           properties->minor);
  QG_CHECK(error == cudaSuccess, QG_ERR_RESOURCE, "NVIDIA device %d runs no kernels: %s (%s)", device,
           cudaGetErrorName(error), cudaGetErrorString(error));
  return QG_OK;
}

/* Instances of one GPU (MIG) have its address, each with an UUID of its own. */
static void identify(qg_backend *be, const struct cudaDeviceProp *properties, char *bus, size_t size)
{
  const unsigned char *uuid = (const unsigned char *)properties->uuid.bytes;
  int device = qg_cuda_of(be)->device;
  if (cudaDeviceGetPCIBusId(bus, (int)size, device) != cudaSuccess) snprintf(bus, size, "device %d", device);
  snprintf(be->device, sizeof be->device, "%.16s UUID %02x%02x%02x%02x", bus, uuid[0], uuid[1], uuid[2],
           uuid[3]);
}

/* Whether results have to repeat to the bit goes by this text (train/checkpoint_selftest.c), so it names the
 * library whose products these are. Kernels that the driver compiles make a first start slow, which the log
 * should tell. */
static void describe(qg_backend *be, const struct cudaDeviceProp *properties, bool from_ptx)
{
  qg_cuda *cuda = qg_cuda_of(be);
  int driver = 0, blas = (int)cublasLtGetVersion();
  char text[16], bus[32];
  cudaDriverGetVersion(&driver);
  version_text(driver, text, sizeof text);
  identify(be, properties, bus, sizeof bus);
  snprintf(cuda->place, sizeof cuda->place, "device %d (%.64s)", cuda->device, properties->name);
  snprintf(be->description, sizeof be->description,
           "cuda (%.36s, %.16s, driver %.8s, %s GEMM in cuBLASLt %d.%d.%d%s%s)", properties->name, bus, text,
           qg_dtype_name(be->compute), blas / 10000, blas / 100 % 100, blas % 100,
           cuda->fused_attention ? ", fused attention" : "", from_ptx ? ", kernels compiled from PTX" : "");
}

/* The tables are built on the host, by the definitions that the CPU backend uses. */
static qg_status upload_tables(qg_backend *be)
{
  qg_cuda *cuda = qg_cuda_of(be);
  QG_CUDA(be, cudaMalloc((void **)&cuda->tables, sizeof *cuda->tables));
  QG_CUDA(be, cudaMalloc((void **)&cuda->partial, SUMS_BYTES));
  cuda->sums = cuda->partial + QG_CUDA_SUM_BLOCKS;
  QG_TRY(qg_cuda_copy_in(be, &cuda->tables->maps, qg_dynamic_maps_get(), sizeof cuda->tables->maps));
  return qg_cuda_copy_in(be, &cuda->tables->searches, qg_dynamic_searches_get(),
                         sizeof cuda->tables->searches);
}

static qg_status create(qg_backend *be)
{
  qg_cuda *cuda = qg_cuda_of(be);
  QG_CUDA(be, cudaStreamCreateWithFlags(&cuda->stream, cudaStreamNonBlocking));
  QG_TRY(qg_cuda_async_open(be));
  QG_CUBLAS(be, cublasCreate(&cuda->blas));
  QG_CUBLAS(be, cublasSetStream(cuda->blas, cuda->stream));
  QG_CUBLAS(be, cublasSetMathMode(cuda->blas, CUBLAS_MATH_DISALLOW_REDUCED_PRECISION_REDUCTION));
  QG_CUBLAS(be, cublasLtCreate(&cuda->lt));
  QG_CUSOLVER(be, cusolverDnCreate(&cuda->solver));
  QG_CUSOLVER(be, cusolverDnCreateParams(&cuda->solver_params));
  QG_CUSOLVER(be, cusolverDnSetStream(cuda->solver, cuda->stream));
  QG_TRY(qg_cuda_clock_open(be));
  return upload_tables(be);
}

/* All that a request and no device tells. */
static qg_status make(const qg_backend_request *request, const qg_backend_ops *ops, qg_backend **out)
{
  qg_backend *be;
  QG_TRY(qg_calloc(1, sizeof *be + sizeof(qg_cuda) + sizeof(qg_gemm_plans), "CUDA backend", (void **)&be));
  be->ops = ops;
  be->close = qg_cuda_close;
  be->impl = be + 1;
  be->compute = strcmp(request->precision, "fp32") == 0 ? QG_F32 : QG_BF16;
  be->threads = request->threads;
  be->update_elements = UPDATE_ELEMENTS;
  be->share = (qg_device_share){sizeof(qg_cuda_tables) + SUMS_BYTES, ALLOWANCE, MARGIN};
  qg_cuda_of(be)->plans = (qg_gemm_plans *)(qg_cuda_of(be) + 1);
  qg_cuda_of(be)->fused_attention = request->fused_attention && be->compute == QG_BF16;
  *out = be;
  return QG_OK;
}

qg_status qg_cuda_plan(const qg_backend_request *request, const qg_backend_ops *ops, qg_backend **out)
{
  QG_TRY(make(request, ops, out));
  (*out)->planned = true;
  snprintf((*out)->description, sizeof(*out)->description, "cuda (planned without a device)");
  return QG_OK;
}

qg_status qg_cuda_open(const qg_backend_request *request, const qg_backend_ops *ops, qg_backend **out)
{
  qg_backend *be = NULL;
  struct cudaDeviceProp properties;
  bool from_ptx;
  int count;
  qg_status status;
  QG_TRY(count_devices(&count));
  int device = request->local_rank % count;
  QG_TRY(select_device(device, &properties, &from_ptx));
  QG_TRY(make(request, ops, &be));
  qg_cuda_of(be)->device = device;
  describe(be, &properties, from_ptx);
  QG_TRY_OUT(create(be));
  *out = be;
  return QG_OK;
out:
  qg_cuda_close(be);
  return status;
}

void qg_cuda_close(qg_backend *be)
{
  qg_cuda *cuda = qg_cuda_of(be);
  qg_gemm_plans_clear(cuda->plans);
  qg_cuda_clock_close(be);
  free(cuda->solver_host_work);
  if (cuda->solver_params) cusolverDnDestroyParams(cuda->solver_params);
  if (cuda->solver) cusolverDnDestroy(cuda->solver);
  if (cuda->lt) cublasLtDestroy(cuda->lt);
  if (cuda->blas) cublasDestroy(cuda->blas);
  cudaFree(cuda->partial);
  cudaFree(cuda->tables);
  qg_cuda_async_close(be);
  if (cuda->stream) cudaStreamDestroy(cuda->stream);
  free(be);
}

void qg_cuda_list(char *buffer, size_t size)
{
  int count;
  size_t used = 0;
  buffer[0] = '\0';
  if (count_devices(&count) != QG_OK) return;
  for (int device = 0; device < count && used < size; device++) {
    struct cudaDeviceProp properties;
    char bus[32] = "";
    bool from_ptx;
    if (select_device(device, &properties, &from_ptx) != QG_OK) continue;
    cudaDeviceGetPCIBusId(bus, (int)sizeof bus, device);
    used +=
        (size_t)snprintf(buffer + used, size - used, "      device %d: %s, %s, compute capability %d.%d\n",
                         device, properties.name, bus, properties.major, properties.minor);
  }
}
