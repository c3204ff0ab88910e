/*
 * dskvs: the Dead Simple Key-Value Store.
 *
 * An embedded store for data that fits in RAM. Every call is answered from memory; a background
 * thread, the persister, writes what changed to disk as soon as it can. After any crash the store
 * reopens in one state that really existed. One process opens a store for writing; any number may
 * read its last committed state beside it.
 *
 * Keys are "collection/member", values are bytes. The whole library is this header.
 *
 *     #include <dskvs/dskvs.h>
 *     #include <stdio.h>
 *
 *     int main(void) {
 *         dskvs_t store;
 *         const void *value;
 *         size_t value_size;
 *
 *         if (dskvs_open("music", NULL, &store) != DSKVS_OK) {
 *             fprintf(stderr, "%s\n", dskvs_last_error());
 *             return 1;
 *         }
 *         dskvs_put(store, "artist/daft_punk", 16, "house", 5);
 *         if (dskvs_get(store, "artist/daft_punk", 16, &value, &value_size) == DSKVS_OK) {
 *             printf("%.*s\n", (int)value_size, (const char *)value);
 *             dskvs_release(value);
 *         }
 *         return dskvs_close(store) == DSKVS_OK ? 0 : 1;
 *     }
 *
 * Conventions
 *
 * 1. Handles. dskvs_t is a number, as a file descriptor is. 0 is never a store. A handle that is
 *    stale, foreign, zero or closed, or being closed on another thread, gives DSKVS_ERR_CLOSED;
 *    it is never undefined behaviour. Keys and other arguments are checked before the handle is.
 *    A process has at most 4,096 stores open.
 *
 * 2. Statuses. Every call that can fail returns int32_t: DSKVS_OK is 0, an expected outcome is
 *    positive, an error is negative. The status decides everything; dskvs_last_error() only
 *    explains it, in English, for people. Any call may return DSKVS_ERR_INTERNAL (a bug in dskvs:
 *    nothing was changed), any call on a handle DSKVS_ERR_CLOSED or DSKVS_ERR_FORKED, and the first
 *    call of a thread, which takes a place for it, DSKVS_ERR_MEMORY, having done nothing; the
 *    functions below do not repeat these. Nothing throws or aborts across this header.
 *
 * 3. Outputs come last. After a failure they are NULL or 0, except where a function says
 *    otherwise. An output pointer that is NULL gives DSKVS_ERR_ARGUMENT, except where a function
 *    says that it may be NULL.
 *
 * 4. Bytes. Keys, values and names are pointer + size, in bytes; nothing is NUL-terminated but
 *    paths and the strings that dskvs returns. Size 0 goes with any pointer, NULL with size 0 only.
 *    Everything that you pass is copied before the call returns.
 *
 * 5. Keys. A key is 1 to 65,535 bytes and is cut at its first '/': before it the collection, after
 *    it the member, neither empty. All other bytes are allowed, NUL and more '/' included. A
 *    collection exists exactly while it has a member. Names never become file names.
 *
 * 6. Values handed out are pinned: immutable, and valid until you give them back with
 *    dskvs_release() or dskvs_list_free(), also after the key was overwritten or deleted and after
 *    the store was closed. Each pointer from dskvs_get() is given back once; the same address may
 *    be handed out more than once, and is then given back as often. What a list hands out goes with
 *    the list. Value pointers are aligned to 8 bytes. An empty value has a pointer too: it has an
 *    identity.
 *
 * 7. Threads. Every function may be called from any thread at any time, dskvs_close() included.
 *    Each call takes effect at one instant between its call and its return; so do dskvs_get_all()
 *    and dskvs_delete_all(), on the whole collection. What a crash leaves is what was there
 *    between two such instants. Readers never wait for writers, and nobody waits for the disk,
 *    except a put that finds no room (see there) and the calls whose purpose it is (open, close,
 *    wait, sync, compact, backup). A dskvs_list belongs to one thread at a time. No function may be
 *    called from a signal handler, and no thread cancelled (pthread_cancel) while it is in one.
 *
 * 8. fork. In a child, every call on an inherited handle returns DSKVS_ERR_FORKED, takes no lock
 *    and writes nothing; the parent is undisturbed. Pinned values stay readable. The child may
 *    open other stores.
 *
 * 9. Durability. Writes are grouped in epochs, numbered from 1. The persister writes an epoch
 *    whole or not at all. "Written" up to an epoch: everything in it survives the death of this
 *    process. "Durable": it survives the loss of power too. By default an isolated write is
 *    durable within about one sync of the device, and under load within sync_interval_ms and a
 *    sync. After a crash the store holds exactly the operations up to one epoch: no less than was
 *    reported written (or durable, after a power loss). When the disk is full or failing, the
 *    store serves from memory, reports it (stats, wait, sync, close, and put at the backlog
 *    limit), and catches up by itself when it can.
 *
 * 10. Growth. Structs start with their size and hold uint64_t only (callbacks last). Old and new
 *    callers and libraries mix: a missing tail means defaults; a tail that this library does not
 *    know must be zero in options, and becomes zero in figures. New status values may appear:
 *    treat an unknown negative one as an error.
 *
 * Not here, by design: put of many keys at once, transactions across keys, replication, a server.
 */
#ifndef DSKVS_DSKVS_H
#define DSKVS_DSKVS_H

#include <stddef.h>
#include <stdint.h>

#if defined(__GNUC__)
#define DSKVS_API __attribute__((visibility("default")))
#else
#define DSKVS_API
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* ---- Constants --------------------------------------------------------------------------- */

#define DSKVS_VERSION_MAJOR 1
#define DSKVS_VERSION_MINOR 0
#define DSKVS_VERSION_PATCH 0

#define DSKVS_OK 0        /* done */
#define DSKVS_NOT_FOUND 1 /* no such key, or the end of a list */
#define DSKVS_TIMEOUT 2   /* not reached within timeout_ms */
#define DSKVS_CONFLICT 3  /* the key's current entry is another one */

/* The caller can mend these. */
#define DSKVS_ERR_ARGUMENT (-1)  /* NULL, an option out of bounds, a mark from the future */
#define DSKVS_ERR_KEY (-2)       /* the key, or collection name, breaks a rule of convention 5 */
#define DSKVS_ERR_PATH (-3)      /* not a store, nor a place where one can be */
#define DSKVS_ERR_LOCKED (-4)    /* open already, in this process or another */
#define DSKVS_ERR_CLOSED (-5)    /* not an open handle */
#define DSKVS_ERR_FORKED (-6)    /* the handle belongs to the parent process */
#define DSKVS_ERR_READ_ONLY (-7) /* a write on a store opened with read_only */
#define DSKVS_ERR_BUFFER (-8)    /* the buffer is too small; the size needed is given */
#define DSKVS_ERR_CANCELLED (-9) /* the progress callback said so */

/* A limit was met; nothing was changed. */
#define DSKVS_ERR_MEMORY (-20) /* the system has no memory to give */
#define DSKVS_ERR_FULL (-21)   /* memory_bytes_max would be exceeded */
#define DSKVS_ERR_SPACE (-22)  /* no room on the disk, or over quota */

/* The disk. */
#define DSKVS_ERR_IO (-30)      /* a read, write or sync failed */
#define DSKVS_ERR_CORRUPT (-31) /* bytes that were durable have changed or gone */
#define DSKVS_ERR_VERSION (-32) /* written by a later format version */

#define DSKVS_ERR_INTERNAL (-99) /* a bug in dskvs */

#define DSKVS_WRITTEN 1 /* level for dskvs_wait: survives the death of this process */
#define DSKVS_DURABLE 2 /* level for dskvs_wait: survives the loss of power */

#define DSKVS_FOREVER UINT64_MAX /* a timeout_ms without end */
#define DSKVS_KEY_SIZE_MAX 65535 /* bytes of a whole key */

/* ---- Types ------------------------------------------------------------------------------- */

/* An open store: see convention 1. */
typedef uint64_t dskvs_t;

/* A snapshot of (member, value) pairs, with a cursor. Free it with dskvs_list_free(). It outlives
 * the store. One thread at a time. */
typedef struct dskvs_list dskvs_list;

/* Called on the thread of the call that was given it, every few MiB and at the end, with bytes done
 * and bytes in all; a damaged store is read more than once, and `done` begins again each time.
 * Return 0 to go on; anything else cancels the call, which then returns DSKVS_ERR_CANCELLED and
 * leaves everything as it was. It must not call dskvs on the same store. */
typedef int32_t (*dskvs_progress)(void *context, uint64_t done, uint64_t total);

/* Start from DSKVS_OPTIONS_INIT or dskvs_options_init(). Since 1.0. */
typedef struct dskvs_options {
  uint64_t size;             /* sizeof(dskvs_options) as the caller was compiled; at most 4,096 */
  uint64_t read_only;        /* 1: read the last committed state beside a writer; default 0 */
  uint64_t create;           /* 0: must exist; 1: may be created (default); 2: must be new. With
                                read_only 1 means 0, and 2 is refused */
  uint64_t sync_interval_ms; /* longest time from written to synced under load; 0: sync only on
                                sync, wait and close; default 100; at most 86,400,000 */
  uint64_t memory_bytes_max; /* bytes of keys, values and their overhead; a put beyond it is
                                DSKVS_ERR_FULL, though the index may grow up to 1 % past it;
                                0: no limit (default) */
  uint64_t dirty_bytes_max;  /* bytes accepted and not yet written; a put that finds them beyond it
                                waits for the persister (see dskvs_put()); default 268,435,456; at
                                least 65,536 */
  dskvs_progress progress;   /* of a long open, verify or salvage; NULL: none (default) */
  void *progress_context;    /* handed to progress */
} dskvs_options;

#define DSKVS_OPTIONS_INIT \
  { sizeof(dskvs_options), 0, 1, 100, 0, 268435456, NULL, NULL }

/* Figures of a store. Set size before the call: fields beyond it are not written, and those within
 * it that this library does not know become 0. Since 1.0. */
typedef struct dskvs_stats_t {
  uint64_t size;            /* sizeof(dskvs_stats_t) as the caller was compiled; at most 4,096 */
  uint64_t collections;     /* collections that have a member */
  uint64_t entries;         /* keys */
  uint64_t key_bytes;       /* bytes of all keys, "collection/member" each */
  uint64_t value_bytes;     /* bytes of all values */
  uint64_t memory_bytes;    /* bytes of memory that this store's entries and tables occupy */
  uint64_t dirty_bytes;     /* bytes accepted and not yet written */
  uint64_t accepted_epoch;  /* newest epoch that holds a write */
  uint64_t written_epoch;   /* up to here everything survives the death of the process */
  uint64_t durable_epoch;   /* up to here everything survives the loss of power */
  uint64_t written_lag_us;  /* age of the oldest write that is not written; 0: none */
  uint64_t durable_lag_us;  /* age of the oldest write that is not durable, but no more than since
                               open; 0: none */
  uint64_t disk_bytes;      /* bytes of the log files and of the reserve for a full disk */
  uint64_t segments;        /* log files */
  uint64_t bytes_written;   /* bytes written to the log since open */
  uint64_t syncs;           /* successful syncs since open */
  uint64_t last_error;      /* (uint64_t)(int64_t)status of the persister; 0: it is well */
  uint64_t recovered_epoch; /* epoch that open restored */
  uint64_t lost_epochs;     /* epochs known to have been accepted beyond it and lost in a crash */
  uint64_t frames_cut;      /* whole or torn frames that recovery cut from the tail of the log */
  uint64_t live_bytes;      /* bytes that the current entries would occupy in a fresh log */
  uint64_t bytes_accepted;  /* bytes of keys and values put and deleted since open */
  uint64_t bytes_cleaned;   /* bytes of bytes_written that cleaning wrote again */
  uint64_t heals;           /* times that the persister left a failed file and caught up */
  uint64_t dirty_bytes_max; /* at so many dirty_bytes a put waits now: the option, or less while the
                               log or the disk has no room for more */
} dskvs_stats_t;

#define DSKVS_STATS_INIT \
  { sizeof(dskvs_stats_t), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0 }

/* ---- Open and close ---------------------------------------------------------------------- */

/* Fills the first `size` bytes of `options` with defaults, for callers that cannot use the macro.
 * Pass sizeof(dskvs_options).
 * Returns OK; ERR_ARGUMENT when options is NULL, or size is below 8, above 4,096 or no multiple of
 * 8. After an error options is as it was. Since 1.0. */
DSKVS_API int32_t dskvs_options_init(dskvs_options *options, size_t size);

/* Opens the store in directory `path`, creating the directory (not its parents) when options allow,
 * locks it against other writers, and loads all of it into memory. NULL options are the defaults.
 * The handle is yours: give it back with dskvs_close().
 * Returns OK; ERR_ARGUMENT (an option); ERR_PATH (a file, missing, not ours, inside a store, not
 * writable, or there although create is 2); ERR_LOCKED (the message names the owner's pid); ERR_IO;
 * ERR_SPACE; ERR_CORRUPT (the message names file and offset; see dskvs_salvage()); ERR_VERSION;
 * ERR_MEMORY (also of a store too many: see convention 1); ERR_CANCELLED. Since 1.0. */
DSKVS_API int32_t dskvs_open(const char *path, const dskvs_options *options, dskvs_t *store);

/* Persists everything, syncs it, and closes the store. Calls that run on other threads finish or
 * return ERR_CLOSED. When the disk keeps failing, close gives up after a bounded time: the handle
 * is closed whatever becomes of the disk.
 * Returns OK: everything is durable; else the persister's error (ERR_IO, ERR_SPACE, ERR_MEMORY),
 * and the message says up to which epoch, as of dskvs_mark(), all is durable, and how many bytes
 * are not written. OK on a read-only store, which has nothing to persist. Since 1.0. */
DSKVS_API int32_t dskvs_close(dskvs_t store);

/* ---- One key ----------------------------------------------------------------------------- */

/* Makes `value` the value of `key`.
 * Waits only while as much is dirty as may be: dirty_bytes_max, or less while the log, which is
 * kept below twice the live data and 64 MiB, has no room for it, or the disk has little; and while
 * the log is cleaned for it on a disk that is full.
 * Returns OK; ERR_ARGUMENT; ERR_KEY; ERR_READ_ONLY; ERR_MEMORY; ERR_FULL; ERR_SPACE: the disk has
 * no room for it; and while the backlog stands at dirty_bytes_max and the disk fails, the
 * persister's error. After an error nothing was changed. Since 1.0. */
DSKVS_API int32_t dskvs_put(dskvs_t store, const char *key, size_t key_size, const void *value,
                            size_t value_size);

/* Hands out the current value of `key`, pinned, without copying.
 * The value is yours until dskvs_release(). Its address is also the identity of the entry, for
 * dskvs_put_if() and dskvs_delete_if().
 * Returns OK; NOT_FOUND; ERR_ARGUMENT; ERR_KEY. Since 1.0. */
DSKVS_API int32_t dskvs_get(dskvs_t store, const char *key, size_t key_size, const void **value,
                            size_t *value_size);

/* Gives back a value that dskvs_get() handed out. NULL is fine. Needs no store. Since 1.0. */
DSKVS_API void dskvs_release(const void *value);

/* Copies the current value of `key` into `buffer`, and its size into `value_size`. Allocates
 * nothing and, up to 64 KiB, writes to no memory that other threads read.
 * Returns OK; NOT_FOUND; ERR_BUFFER: the value is larger than `capacity`; the buffer is as it was
 * and `value_size` holds the size needed; ERR_ARGUMENT; ERR_KEY. Since 1.0. */
DSKVS_API int32_t dskvs_get_into(dskvs_t store, const char *key, size_t key_size, void *buffer,
                                 size_t capacity, size_t *value_size);

/* Returns OK when `key` has a value; NOT_FOUND; ERR_ARGUMENT; ERR_KEY. Since 1.0. */
DSKVS_API int32_t dskvs_contains(dskvs_t store, const char *key, size_t key_size);

/* Removes `key`.
 * Returns OK when it had a value; NOT_FOUND; ERR_ARGUMENT; ERR_KEY; ERR_READ_ONLY; ERR_MEMORY;
 * ERR_SPACE: the disk is so full that even what is kept for removals is used up;
 * dskvs_delete_all() still works then. Since 1.0. */
DSKVS_API int32_t dskvs_delete(dskvs_t store, const char *key, size_t key_size);

/* As dskvs_put(), but only while the key's current entry is the one that `held` was got from, and
 * with `held` NULL only while the key is absent. Keep `held` pinned until the call returns: a value
 * that was released is the identity of nothing. Equal bytes put again are another entry.
 * Returns what dskvs_put() does, and CONFLICT. Since 1.0. */
DSKVS_API int32_t dskvs_put_if(dskvs_t store, const char *key, size_t key_size, const void *held,
                               const void *value, size_t value_size);

/* As dskvs_delete(), on the condition of dskvs_put_if().
 * Returns what dskvs_delete() does, and CONFLICT. When the key is absent: NOT_FOUND with `held`
 * NULL, CONFLICT otherwise. Since 1.0. */
DSKVS_API int32_t dskvs_delete_if(dskvs_t store, const char *key, size_t key_size,
                                  const void *held);

/* ---- One collection ---------------------------------------------------------------------- */

/* Hands out all members of `collection` with their values, as they were at one instant, in no
 * order. Values are pinned, not copied. An unknown collection gives an empty list. The list is
 * yours until dskvs_list_free().
 * Returns OK; ERR_ARGUMENT; ERR_KEY (the name is empty, too long, or holds a '/'); ERR_MEMORY.
 * Since 1.0. */
DSKVS_API int32_t dskvs_get_all(dskvs_t store, const char *collection, size_t collection_size,
                                dskvs_list **list);

/* Removes `collection` with all its members, at one instant. `removed`, which may be NULL, receives
 * how many there were; 0 for an unknown collection. The cost does not grow with the collection.
 * Returns OK; ERR_ARGUMENT; ERR_KEY; ERR_READ_ONLY; ERR_MEMORY. Since 1.0. */
DSKVS_API int32_t dskvs_delete_all(dskvs_t store, const char *collection, size_t collection_size,
                                   uint64_t *removed);

/* Hands out the names of all collections, each with its member count as an 8-byte little-endian
 * value. The list is yours until dskvs_list_free(). Each count is of one instant; collections that
 * come and go meanwhile may be missing or there.
 * Returns OK; ERR_ARGUMENT; ERR_MEMORY. Since 1.0. */
DSKVS_API int32_t dskvs_collections(dskvs_t store, dskvs_list **list);

/* Counts the members of `collection`, without visiting them; 0 for an unknown one. Members that
 * other threads are just putting or deleting may count already, or still. NULL with size 0 counts
 * the whole store: exactly while nobody writes, else as a sum of counts of moments close by.
 * Returns OK; ERR_ARGUMENT; ERR_KEY. Since 1.0. */
DSKVS_API int32_t dskvs_count(dskvs_t store, const char *collection, size_t collection_size,
                              uint64_t *members);

/* ---- Lists ------------------------------------------------------------------------------- */

/* Returns how many pairs the list holds in all; 0 for NULL. Since 1.0. */
DSKVS_API uint64_t dskvs_list_size(const dskvs_list *list);

/* Hands out the next pair and moves on. Pointers are valid as long as the list.
 * Returns OK; NOT_FOUND at the end; ERR_ARGUMENT. Since 1.0. */
DSKVS_API int32_t dskvs_list_next(dskvs_list *list, const char **member, size_t *member_size,
                                  const void **value, size_t *value_size);

/* Copies as many of the next pairs as fit into `buffer`, and moves on; `used` receives the bytes
 * filled. A record is u32 member_size, u64 value_size (both little-endian, no padding), the member,
 * the value: one call a megabyte rather than one a pair, for callers to whom a call is dear.
 * Returns OK; NOT_FOUND at the end; ERR_BUFFER: not even the next record fits; `used` holds its
 * size; ERR_ARGUMENT. Since 1.0. */
DSKVS_API int32_t dskvs_list_read(dskvs_list *list, void *buffer, size_t capacity, size_t *used);

/* Frees the list and everything that it pins. NULL is fine. Needs no store. Since 1.0. */
DSKVS_API void dskvs_list_free(dskvs_list *list);

/* ---- The disk ---------------------------------------------------------------------------- */

/* Gives a ticket, for dskvs_wait(), that covers every write that returned before this call: the
 * epoch of the newest. Costs nothing. On a read-only store: the epoch it shows.
 * Returns OK; ERR_ARGUMENT. Since 1.0. */
DSKVS_API int32_t dskvs_mark(dskvs_t store, uint64_t *mark);

/* Waits until everything up to `mark` is DSKVS_WRITTEN or DSKVS_DURABLE, as `level` says; timeout 0
 * does not wait. With sync_interval_ms 0, any call for DSKVS_DURABLE asks for a sync. On a
 * read-only store all is written, and durable is what its durable_epoch says: what the log records,
 * at most a little less than is so. TIMEOUT comes at once there, whatever timeout_ms is, as nothing
 * will change.
 *
 * Returns OK; TIMEOUT; the persister's error (ERR_IO, ERR_SPACE, ERR_MEMORY), at once, while it
 * cannot get there; ERR_ARGUMENT (the level; a mark that dskvs_mark() has not given yet);
 * ERR_CLOSED when the store is closed meanwhile. Since 1.0. */
DSKVS_API int32_t dskvs_wait(dskvs_t store, uint64_t mark, int32_t level, uint64_t timeout_ms);

/* Takes a mark, hurries the persister, and waits until the mark is durable.
 * Returns what dskvs_wait() does. Since 1.0. */
DSKVS_API int32_t dskvs_sync(dskvs_t store, uint64_t timeout_ms);

/* Fills `stats`, up to the size that its first field says. Cheap enough to be asked every second.
 * Returns OK; ERR_ARGUMENT (size below 8, above 4,096 or not a multiple of 8; stats is as it was).
 * Since 1.0. */
DSKVS_API int32_t dskvs_stats(dskvs_t store, dskvs_stats_t *stats);

/* Writes the live entries again until nothing that is overwritten or deleted occupies the disk,
 * while readers and writers go on. Seldom needed: the persister keeps disk_bytes within about twice
 * live_bytes by itself.
 * Returns OK; the persister's error; ERR_IO or ERR_SPACE while the persister has none: all is
 * written, and files that are of no use any more cannot be removed, which is tried again with the
 * next sync; ERR_READ_ONLY. Since 1.0. */
DSKVS_API int32_t dskvs_compact(dskvs_t store);

/* Copies the store, as it was at one epoch no older than this call, into the new or empty directory
 * `path`, synced, while readers and writers go on. The copy is a store. From a read-only store: of
 * the state that it shows.
 * Returns OK; ERR_ARGUMENT; ERR_PATH; ERR_LOCKED; ERR_IO; ERR_SPACE; the persister's error. After
 * an error the files that it made are gone again; what a crash leaves of them is no store, and
 * dskvs_open() says so (ERR_PATH). Since 1.0. */
DSKVS_API int32_t dskvs_backup(dskvs_t store, const char *path);

/* Checks every byte of the store in directory `path`, which may be open elsewhere. Of options,
 * which must be good ones as for dskvs_open(), only progress is used; NULL is fine. `damage`, which
 * may be NULL, receives a list of what was found: member is the file name, value a text "offset N:
 * kind of damage". A torn tail, as a crash leaves it, is no damage.
 *
 * Returns OK: intact, and the list is empty; ERR_CORRUPT: damaged, and the list is not; ERR_PATH;
 * ERR_VERSION; ERR_IO; ERR_MEMORY; ERR_CANCELLED; ERR_ARGUMENT. Since 1.0. */
DSKVS_API int32_t dskvs_verify(const char *path, const dskvs_options *options, dskvs_list **damage);

/* Rescues what is intact in a damaged store: reads all it can of `path`, changing none of its
 * segments but holding its lock (on a read-only file system there is none), and writes every entry
 * whose committed bytes are whole into a new store in the new or empty directory `target`, whose
 * lock it holds too. Of options, as for dskvs_verify(), only progress is used; NULL is fine.
 * `damage`, which may be NULL, receives the list that dskvs_verify() gives, and blocks that cannot
 * be read; what lay there is lost, and an older version of its keys, or a key deleted there, may
 * have come back.
 * Returns OK: a store stands at `target`; ERR_PATH; ERR_LOCKED; ERR_VERSION; ERR_IO; ERR_SPACE;
 * ERR_MEMORY; ERR_CANCELLED; ERR_ARGUMENT. After an error or a crash: as for dskvs_backup().
 * Since 1.0. */
DSKVS_API int32_t dskvs_salvage(const char *path, const char *target, const dskvs_options *options,
                                dskvs_list **damage);

/* ---- Words ------------------------------------------------------------------------------- */

/* Returns the version of the library, "1.0.0"; static. Since 1.0. */
DSKVS_API const char *dskvs_version(void);

/* Returns the version of this ABI, "0", the number in the library's file name; static.
 * Since 1.0. */
DSKVS_API const char *dskvs_abi_version(void);

/* Returns the name of a status, "DSKVS_ERR_KEY"; static; never NULL. Since 1.0. */
DSKVS_API const char *dskvs_status_name(int32_t status);

/* Returns what the last call on this thread that returned an error had to say; "" when there was
 * none. Valid until the next call on this thread. It names paths, sizes and rules, never the bytes
 * of keys and values. Since 1.0. */
DSKVS_API const char *dskvs_last_error(void);

#ifdef __cplusplus
}
#endif

#endif
