/* dskvs by dlopen: nothing is linked but libc. `example LIBRARY DIRECTORY` */
#include <dskvs/dskvs_dl.h>
#include <stdio.h>

static dskvs_api api;

static int fail(const char *what) {
  fprintf(stderr, "%s: %s\n", what, api.dskvs_last_error());
  return 1;
}

/* Counts up under a key that other threads may count up too. */
static int32_t count_up(dskvs_t store, const char *key, uint64_t *now) {
  int32_t status;
  do {
    const void *held = NULL;
    size_t size = 0;
    uint64_t next = 1;
    status = api.dskvs_get(store, key, strlen(key), &held, &size);
    if (status == DSKVS_OK && size == sizeof next) {
      memcpy(&next, held, sizeof next);
      next++;
    } else if (status != DSKVS_NOT_FOUND) {
      return status;
    }
    status = api.dskvs_put_if(store, key, strlen(key), held, &next, sizeof next);
    api.dskvs_release(held);
    *now = next;
  } while (status == DSKVS_CONFLICT);
  return status;
}

int main(int argc, char **argv) {
  const char *problem = dskvs_api_load(&api, argc == 3 ? argv[1] : NULL);
  const char *member;
  size_t member_size;
  const void *value;
  size_t value_size;
  dskvs_list *list;
  dskvs_t store;
  uint64_t visits;

  if (problem != NULL) {
    fprintf(stderr, "%s\n", problem);
    return 1;
  }
  if (api.dskvs_open(argc == 3 ? argv[2] : "music", NULL, &store) != DSKVS_OK) return fail("open");

  if (api.dskvs_put(store, "artist/daft_punk", 16, "house", 5) != DSKVS_OK) return fail("put");
  if (api.dskvs_get_all(store, "artist", 6, &list) != DSKVS_OK) return fail("get_all");
  while (api.dskvs_list_next(list, &member, &member_size, &value, &value_size) == DSKVS_OK)
    printf("%.*s: %.*s\n", (int)member_size, member, (int)value_size, (const char *)value);
  api.dskvs_list_free(list);

  if (count_up(store, "site/visits", &visits) != DSKVS_OK) return fail("count");
  if (count_up(store, "site/visits", &visits) != DSKVS_OK) return fail("count");
  printf("visits: %llu\n", (unsigned long long)visits);

  if (api.dskvs_sync(store, DSKVS_FOREVER) != DSKVS_OK) return fail("sync");
  return api.dskvs_close(store) == DSKVS_OK ? 0 : fail("close");
}
