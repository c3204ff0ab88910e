/*
 * dskvs_dl.h: dskvs by dlopen, for programs that want to start without it.
 *
 *     dskvs_api api;
 *     const char *problem = dskvs_api_load(&api, NULL);
 *     if (problem == NULL) {
 *         api.dskvs_open("music", NULL, &store);
 *         ...
 *
 * Types and constants, and what each function does, are in dskvs.h; nothing is linked but libc
 * (before glibc 2.34: and -ldl). The library is never unloaded. C99 and C++11.
 */
#ifndef DSKVS_DSKVS_DL_H
#define DSKVS_DSKVS_DL_H

#include <dlfcn.h>
#include <dskvs/dskvs.h>
#include <string.h>

#define DSKVS_DL_ABI_VERSION "0"
#define DSKVS_DL_FILE "libdskvs.so." DSKVS_DL_ABI_VERSION

/* Every function of dskvs.h: result, name, parameters. */
#define DSKVS_DL_FUNCTIONS(F)                                                                   \
  F(int32_t, dskvs_options_init, (dskvs_options *, size_t))                                     \
  F(int32_t, dskvs_open, (const char *, const dskvs_options *, dskvs_t *))                      \
  F(int32_t, dskvs_close, (dskvs_t))                                                            \
  F(int32_t, dskvs_put, (dskvs_t, const char *, size_t, const void *, size_t))                  \
  F(int32_t, dskvs_get, (dskvs_t, const char *, size_t, const void **, size_t *))               \
  F(void, dskvs_release, (const void *))                                                        \
  F(int32_t, dskvs_get_into, (dskvs_t, const char *, size_t, void *, size_t, size_t *))         \
  F(int32_t, dskvs_contains, (dskvs_t, const char *, size_t))                                   \
  F(int32_t, dskvs_delete, (dskvs_t, const char *, size_t))                                     \
  F(int32_t, dskvs_put_if, (dskvs_t, const char *, size_t, const void *, const void *, size_t)) \
  F(int32_t, dskvs_delete_if, (dskvs_t, const char *, size_t, const void *))                    \
  F(int32_t, dskvs_get_all, (dskvs_t, const char *, size_t, dskvs_list **))                     \
  F(int32_t, dskvs_delete_all, (dskvs_t, const char *, size_t, uint64_t *))                     \
  F(int32_t, dskvs_collections, (dskvs_t, dskvs_list **))                                       \
  F(int32_t, dskvs_count, (dskvs_t, const char *, size_t, uint64_t *))                          \
  F(uint64_t, dskvs_list_size, (const dskvs_list *))                                            \
  F(int32_t, dskvs_list_next, (dskvs_list *, const char **, size_t *, const void **, size_t *)) \
  F(int32_t, dskvs_list_read, (dskvs_list *, void *, size_t, size_t *))                         \
  F(void, dskvs_list_free, (dskvs_list *))                                                      \
  F(int32_t, dskvs_mark, (dskvs_t, uint64_t *))                                                 \
  F(int32_t, dskvs_wait, (dskvs_t, uint64_t, int32_t, uint64_t))                                \
  F(int32_t, dskvs_sync, (dskvs_t, uint64_t))                                                   \
  F(int32_t, dskvs_stats, (dskvs_t, dskvs_stats_t *))                                           \
  F(int32_t, dskvs_compact, (dskvs_t))                                                          \
  F(int32_t, dskvs_backup, (dskvs_t, const char *))                                             \
  F(int32_t, dskvs_verify, (const char *, const dskvs_options *, dskvs_list **))                \
  F(int32_t, dskvs_salvage, (const char *, const char *, const dskvs_options *, dskvs_list **)) \
  F(const char *, dskvs_version, (void))                                                        \
  F(const char *, dskvs_abi_version, (void))                                                    \
  F(const char *, dskvs_status_name, (int32_t))                                                 \
  F(const char *, dskvs_last_error, (void))

typedef struct dskvs_api {
#define DSKVS_DL_MEMBER(result, name, parameters) result(*name) parameters;
  DSKVS_DL_FUNCTIONS(DSKVS_DL_MEMBER)
#undef DSKVS_DL_MEMBER
} dskvs_api;

/* Loads the library from `file`, or with NULL from where the system keeps its libraries, and fills
 * `api`. Returns NULL when all is well, else what is wrong, valid until the next call of dlfcn.h;
 * then `api` is all NULL. */
static inline const char *dskvs_api_load(dskvs_api *api, const char *file) {
  static const struct {
    const char *name;
    size_t offset;
  } functions[] = {
#define DSKVS_DL_ROW(result, name, parameters) {#name, offsetof(dskvs_api, name)},
      DSKVS_DL_FUNCTIONS(DSKVS_DL_ROW)
#undef DSKVS_DL_ROW
  };
  void *library = dlopen(file != NULL ? file : DSKVS_DL_FILE, RTLD_NOW | RTLD_LOCAL);
  size_t i;

  memset(api, 0, sizeof *api);
  if (library == NULL) return dlerror();
  for (i = 0; i < sizeof functions / sizeof functions[0]; i++) {
    void *address = dlsym(library, functions[i].name);
    if (address == NULL) {
      memset(api, 0, sizeof *api);
      return dlerror();
    }
    memcpy((char *)api + functions[i].offset, &address, sizeof address);
  }
  if (strcmp(api->dskvs_abi_version(), DSKVS_DL_ABI_VERSION) != 0) {
    memset(api, 0, sizeof *api);
    return "the library has another ABI version than " DSKVS_DL_ABI_VERSION;
  }
  return NULL;
}

#endif
