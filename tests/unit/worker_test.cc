// Goal: a job's result, and its error's text, reach the one who waits; jobs run beside their
// caller, one after another; and a worker that goes away first lets its job end.
// Method: jobs that wait for the test; the sanitizers look at what passes between the threads.
#include "disk/worker.h"

#include <future>
#include <string>

#include "support/catch.h"

namespace dskvs::test {
namespace {

TEST_CASE("a job runs beside its caller, and its result is waited for") {
  std::promise<void> ended;
  Worker worker(false, [&] { ended.set_value(); });
  std::promise<void> go;
  const std::thread::id here = std::this_thread::get_id();
  std::thread::id there;
  worker.start([&, gate = go.get_future().share()] {
    gate.wait();
    there = std::this_thread::get_id();
    return Status::kOk;
  });
  CHECK_FALSE(worker.has_ended());
  go.set_value();
  CHECK(worker.wait() == Status::kOk);
  CHECK(there != here);
  ended.get_future().wait();
  CHECK(worker.has_ended());
}

TEST_CASE("a failure brings its text, and the next job starts anew") {
  Worker worker(false, [] {});
  for (int i = 0; i < 1000; ++i) {
    worker.start([i] { return i % 2 == 0 ? fail(Status::kIo, "job {}", i) : Status::kOk; });
    const Status status = worker.wait();
    REQUIRE(status == (i % 2 == 0 ? Status::kIo : Status::kOk));
    if (i % 2 == 0) REQUIRE(last_error() == "job " + std::to_string(i));
  }
}

TEST_CASE("a worker that is destroyed lets its job end first") {
  std::atomic<bool> done = false;
  {
    Worker worker(false, [] {});
    worker.start([&] {
      std::this_thread::yield();
      done = true;
      return Status::kOk;
    });
  }
  CHECK(done);
}

TEST_CASE("in one thread the job is done at once, and seen to have ended at the second look") {
  bool told = false;
  Worker worker(true, [&] { told = true; });
  std::thread::id there;
  worker.start([&] {
    there = std::this_thread::get_id();
    return Status::kSpace;
  });
  CHECK(there == std::this_thread::get_id());
  CHECK_FALSE(worker.has_ended());
  CHECK(worker.has_ended());
  CHECK(worker.wait() == Status::kSpace);
  CHECK_FALSE(told);
}

}  // namespace
}  // namespace dskvs::test
