/* While one of these lives, the host may touch device memory: it stands for the device working. */
#ifndef CUDAEMU_ARENA_H
#define CUDAEMU_ARENA_H

namespace cudaemu {

struct device_access {
  device_access();
  ~device_access();
  device_access(const device_access &) = delete;
  device_access &operator=(const device_access &) = delete;
};

}  // namespace cudaemu

#endif
