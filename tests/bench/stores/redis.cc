// A redis-server of the store's own, on a unix socket in the store's directory.
#include <fcntl.h>
#include <hiredis.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstring>
#include <thread>

#include "fail.h"
#include "store.h"

namespace bench {
namespace {

struct FreeReply {
  void operator()(redisReply* reply) const { freeReplyObject(reply); }
};
using Reply = std::unique_ptr<redisReply, FreeReply>;

struct FreeContext {
  void operator()(redisContext* context) const { redisFree(context); }
};
using Context = std::unique_ptr<redisContext, FreeContext>;

template <typename... Args>
Reply command(redisContext* context, Args... args) {
  std::string_view words[] = {args...};
  const char* data[sizeof...(args)];
  size_t sizes[sizeof...(args)];
  for (size_t i = 0; i < sizeof...(args); ++i) {
    data[i] = words[i].data();
    sizes[i] = words[i].size();
  }
  Reply reply(
      static_cast<redisReply*>(redisCommandArgv(context, int(sizeof...(args)), data, sizes)));
  if (reply == nullptr) fail("Redis: {}", context->errstr);
  return reply;
}

void expect_no_error(const Reply& reply) {
  if (reply->type == REDIS_REPLY_ERROR) fail("Redis: {}", reply->str);
}

class RedisSession : public Session {
 public:
  explicit RedisSession(Context context) : context_(std::move(context)) {}

  void put(std::string_view key, std::string_view value) override {
    expect_no_error(command(context_.get(), std::string_view("SET"), key, value));
  }

  std::string_view get_copied(std::string_view key) override {
    if (!fetch(key)) return {};
    copy_.assign(reply_->str, size_t(reply_->len));
    return copy_;
  }

  // The nearest to a value in place: the client's own parsed reply.
  bool get_pinned(std::string_view key, uint64_t* digest) override {
    if (!fetch(key)) return false;
    look_at(reply_->str, size_t(reply_->len), digest);
    return true;
  }

  bool erase(std::string_view key) override {
    Reply reply = command(context_.get(), std::string_view("DEL"), key);
    expect_no_error(reply);
    return reply->integer == 1;
  }

 private:
  bool fetch(std::string_view key) {
    reply_ = command(context_.get(), std::string_view("GET"), key);
    expect_no_error(reply_);
    return reply_->type == REDIS_REPLY_STRING;
  }

  Context context_;
  Reply reply_;
  std::string copy_;
};

class RedisStore : public Store {
 public:
  explicit RedisStore(const StoreConfig& config)
      : directory_(config.directory), socket_(directory_ + "/redis.sock") {
    start();
    wait_until_loaded();
  }

  ~RedisStore() override {
    kill(server_, SIGTERM);  // flushes the append-only file, then exits
    waitpid(server_, nullptr, 0);
  }

  std::unique_ptr<Session> session() override {
    Context context = connect();
    if (context == nullptr) fail("Redis: cannot connect to {}", socket_);
    return std::make_unique<RedisSession>(std::move(context));
  }

  int server_pid() const override { return server_; }

 private:
  Context connect() const {
    Context context(redisConnectUnix(socket_.c_str()));
    if (context == nullptr || context->err != 0) return nullptr;
    return context;
  }

  void start() {
    server_ = fork();
    if (server_ < 0) fail("Redis: fork: {}", strerror(errno));
    if (server_ > 0) return;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    std::string log = directory_ + "/redis.log";
    execlp("redis-server", "redis-server", "--port", "0", "--unixsocket", socket_.c_str(), "--dir",
           directory_.c_str(), "--appendonly", "yes", "--appendfsync", "everysec", "--save", "",
           "--daemonize", "no", "--logfile", log.c_str(), static_cast<char*>(nullptr));
    _exit(127);
  }

  void wait_until_loaded() {
    for (;;) {
      if (waitpid(server_, nullptr, WNOHANG) == server_) fail("Redis: the server does not start");
      if (Context context = connect(); context != nullptr) {
        Reply reply = command(context.get(), std::string_view("PING"));
        if (reply->type != REDIS_REPLY_ERROR) return;
      }
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
  }

  std::string directory_;
  std::string socket_;
  int server_ = -1;
};

}  // namespace

extern const StoreKind kRedisStore;
const StoreKind kRedisStore = {
    "redis", "server of its own on a unix socket, append-only file everysec, no snapshots",
    kPersists | kPins | kRemote, [](const StoreConfig& config) -> std::unique_ptr<Store> {
      return std::make_unique<RedisStore>(config);
    }};

}  // namespace bench
