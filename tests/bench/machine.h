// What the benchmark asks of the system.
#pragma once

#include <cstdint>
#include <string>

namespace bench {

// Nanoseconds of the monotonic clock.
uint64_t now_ns();

// Sleeps until now_ns() would return `deadline_ns`; returns at once when that is past.
void sleep_until_ns(uint64_t deadline_ns);

// Lets sleeps of this thread end within a microsecond or so of the deadline, not fifty.
void wake_precisely();

// Bytes of memory that the process occupies now; pid 0 is this one. Mapped files count.
uint64_t resident_bytes(int pid = 0);

// Bytes that the process sent towards the disk: the kernel counts a page when it becomes dirty.
uint64_t bytes_sent_to_disk(int pid = 0);

// Bytes on the disk that all files under `directory` occupy; holes do not count.
uint64_t disk_bytes(const std::string& directory);

// Reads all files under `directory` from first to last byte; returns how many bytes there were.
uint64_t read_files(const std::string& directory);

// Forgets what the page cache holds of the files under `directory`, after writing it out. As root,
// all of the system's caches.
void forget_cached(const std::string& directory);

// Touches so much free memory, a quarter of all at most, and gives it back: a virtual machine may
// have handed it to its host, and whoever touches it first waits for that.
void warm_free_memory(uint64_t bytes);

// One line about processor, memory, system and compiler.
std::string describe_machine();

}  // namespace bench
