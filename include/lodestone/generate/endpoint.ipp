// Definitions of endpoint.hpp: included by it, or compiled once into lodestone::compiled.
// A little more than 400 lines: requests, retries and delays are one loop over libcurl's handles.
#pragma once

#include <lodestone/core/inline.hpp>
#include <lodestone/generate/endpoint.hpp>

// The build says whether libcurl is there (LODESTONE_ENDPOINT 1 or 0); without it the header looks, and a program that
// uses an endpoint links with -lcurl.
#ifndef LODESTONE_ENDPOINT
#if __has_include(<curl/curl.h>)
#define LODESTONE_ENDPOINT 1
#else
#define LODESTONE_ENDPOINT 0
#endif
#endif

#include <utility>

#include <lodestone/core/error.hpp>

#if LODESTONE_ENDPOINT
#include <algorithm>
#include <array>
#include <charconv>
#include <cstdlib>
#include <ctime>
#include <list>
#include <new>
#include <variant>
#include <vector>

#include <curl/curl.h>
#endif

namespace lodestone::generate {

#if LODESTONE_ENDPOINT

namespace detail {

LODESTONE_INLINE std::optional<std::chrono::milliseconds> retry_after(std::string_view value, std::int64_t now) {
  while (!value.empty() && (value.back() == ' ' || value.back() == '\t')) value.remove_suffix(1);
  while (!value.empty() && (value.front() == ' ' || value.front() == '\t')) value.remove_prefix(1);
  if (value.empty()) return std::nullopt;
  constexpr std::int64_t century = std::int64_t{100} * 366 * 86'400;  // no sum below overflows
  if (std::all_of(value.begin(), value.end(), [](char c) { return c >= '0' && c <= '9'; })) {
    std::int64_t seconds = century;
    if (value.size() < 11) std::from_chars(value.data(), value.data() + value.size(), seconds);
    return std::chrono::seconds(std::min(seconds, century));
  }
  const std::time_t date = curl_getdate(std::string(value).c_str(), nullptr);
  if (date == -1) return std::nullopt;
  return std::chrono::seconds(std::clamp<std::int64_t>(static_cast<std::int64_t>(date) - now, 0, century));
}

/// One attempt, from its start until it is taken out of the multi handle.
struct endpoint_attempt {
  endpoint_attempt() = default;
  endpoint_attempt(const endpoint_attempt&) = delete;
  endpoint_attempt& operator=(const endpoint_attempt&) = delete;
  ~endpoint_attempt() {
    if (easy == nullptr) return;
    curl_multi_remove_handle(multi, easy);
    curl_easy_cleanup(easy);
  }

  CURLM* multi = nullptr;
  CURL* easy = nullptr;
  std::size_t index = 0;
  std::int64_t number = 0;  ///< 0: the first attempt
  std::size_t limit = 0;
  std::string body{};
  std::string response{};
  std::string retry_after{};
  std::string location{};
  bool is_too_long = false;
  std::array<char, CURL_ERROR_SIZE> message{};

  static std::size_t on_data(char* data, std::size_t one, std::size_t count, void* self) {
    auto& attempt = *static_cast<endpoint_attempt*>(self);
    const std::size_t size = one * count;
    if (attempt.response.size() + size > attempt.limit) {
      attempt.is_too_long = true;
      return 0;  // ends the transfer
    }
    attempt.response.append(data, size);
    return size;
  }

  static std::size_t on_header(char* data, std::size_t one, std::size_t count, void* self) {
    auto& attempt = *static_cast<endpoint_attempt*>(self);
    const std::string_view line(data, one * count);
    const auto take = [&](std::string_view name, std::string& value) {
      if (line.size() <= name.size()) return;
      for (std::size_t i = 0; i < name.size(); ++i)
        if ((line[i] | (line[i] >= 'A' && line[i] <= 'Z' ? 0x20 : 0)) != name[i]) return;
      value = line.substr(name.size());
      const std::size_t first = value.find_first_not_of(" \t");
      value.erase(0, std::min(first, value.size()));
      value.resize(value.find_last_not_of(" \t\r\n") + 1);
    };
    take("retry-after:", attempt.retry_after);
    take("location:", attempt.location);
    return line.size();
  }
};

}  // namespace detail

class endpoint::client {
 public:
  explicit client(endpoint_options options) : options_(std::move(options)) {
    static const CURLcode is_ready = curl_global_init(CURL_GLOBAL_DEFAULT);
    if (is_ready != CURLE_OK) throw error("libcurl cannot be used", {}, curl_easy_strerror(is_ready));
    check_address();
    if (options_.model.empty())
      throw config_error("the model has no name", "endpoint model",
                         "give the name that the endpoint lists under /models");
    const auto least = [](std::int64_t value, std::int64_t limit, const char* where) {
      if (value < limit) throw config_error("must be at least " + std::to_string(limit), where);
    };
    least(options_.concurrency, 1, "endpoint concurrency");
    least(options_.retries, 0, "endpoint retries");
    least(options_.connect_timeout.count(), 1, "endpoint connect_timeout");
    least(options_.timeout.count(), 1, "endpoint timeout");
    least(options_.first_delay.count(), 0, "endpoint first_delay");
    least(options_.longest_delay.count(), 0, "endpoint longest_delay");
    least(options_.longest_retry_after.count(), 0, "endpoint longest_retry_after");
    add_header("Content-Type: application/json");
    add_header("Accept: application/json");
    add_header("Expect:");  // libcurl would wait a second for "100 Continue" before it sends a long prompt
    read_key();
    if (!key_.empty()) add_header("Authorization: Bearer " + key_);
    multi_.reset(curl_multi_init());
    if (!multi_) throw error("libcurl cannot be used", {}, "is the memory exhausted?");
  }

  [[nodiscard]] const endpoint_options& options() const { return options_; }
  [[nodiscard]] const endpoint_usage& usage() const { return usage_; }

  void generate(std::span<const request> requests, const answer_listener& each) {
    using clock = std::chrono::steady_clock;
    if (is_busy_) throw error("is called from its own listener", "endpoint", "collect the answers, then ask again");
    const struct busy {
      explicit busy(bool& flag) : flag_(flag) { flag_ = true; }
      busy(const busy&) = delete;
      busy& operator=(const busy&) = delete;
      ~busy() { flag_ = false; }
      bool& flag_;
    } while_here(is_busy_);
    struct waiting {
      std::size_t index;
      std::int64_t number;
      clock::time_point when;
    };
    std::list<detail::endpoint_attempt> active;  // ended and freed here whatever throws
    std::vector<waiting> retries;
    clock::time_point hold{};  // nothing starts before: what Retry-After asks for
    std::size_t next = 0, answered = 0;

    const auto tell = [&](std::size_t index, answer&& reply) {
      ++answered;
      each(index, std::move(reply));
    };
    while (answered < requests.size()) {
      const clock::time_point now = clock::now();
      while (now >= hold && std::ssize(active) < options_.concurrency) {
        const auto due = std::min_element(retries.begin(), retries.end(),
                                          [](const waiting& a, const waiting& b) { return a.when < b.when; });
        if (due != retries.end() && due->when <= now) {
          const waiting one = *due;
          retries.erase(due);
          start(active, requests[one.index], one.index, one.number);
        } else if (next < requests.size()) {
          const std::size_t index = next++;
          if (std::string fault = detail::endpoint_fault(requests[index]); !fault.empty())
            tell(index, failed(std::move(fault)));
          else
            start(active, requests[index], index, 0);
        } else {
          break;
        }
      }
      int running = 0;
      require(curl_multi_perform(multi_.get(), &running));
      bool has_ended = false;
      int left = 0;
      while (const CURLMsg* message = curl_multi_info_read(multi_.get(), &left)) {
        if (message->msg != CURLMSG_DONE) continue;
        has_ended = true;
        const CURL* const easy = message->easy_handle;
        const CURLcode code = message->data.result;  // the message dies with the handle
        const auto one = std::find_if(active.begin(), active.end(), [&](const auto& a) { return a.easy == easy; });
        const std::size_t index = one->index;
        const std::int64_t number = one->number;
        const std::string where = address(requests[index]);
        detail::endpoint_outcome outcome = outcome_of(*one, code, !is_conversation(requests[index]));
        active.erase(one);
        using kind = detail::endpoint_outcome::kind;
        if (outcome.what == kind::answered) {
          usage_.prompt_tokens += outcome.reply.prompt_tokens;
          usage_.answer_tokens += outcome.answer_tokens;
          tell(index, std::move(outcome.reply));
          continue;
        }
        const bool is_unreachable = outcome.what == kind::unreachable;
        const bool asks_too_much = outcome.pause && *outcome.pause > options_.longest_retry_after;
        if ((outcome.what == kind::again || is_unreachable) && number < options_.retries && !asks_too_much) {
          const std::chrono::milliseconds pause = outcome.pause.value_or(std::chrono::milliseconds{0});
          const std::chrono::milliseconds delay = std::max(detail::retry_delay(options_, index, number), pause);
          const clock::time_point when = clock::now() + delay;
          hold = std::max(hold, clock::now() + pause);
          retries.push_back({index, number + 1, when});
          if (options_.note)
            options_.note(lodestone::error(outcome.why, where,
                                           "retry " + std::to_string(number + 1) + " of " +
                                               std::to_string(options_.retries) + " in " +
                                               std::to_string(delay.count()) + " ms")
                              .what());
          continue;
        }
        if (asks_too_much)
          outcome.why += "; it asks for a pause of " + std::to_string(outcome.pause->count() / 1000) + " s";
        if (number > 0) outcome.why += " (asked " + std::to_string(number + 1) + " times)";
        if (outcome.what == kind::wrong_settings) throw config_error(outcome.why, where, outcome.remedy);
        if (is_unreachable || outcome.what == kind::exhausted) throw io_error(outcome.why, where, outcome.remedy);
        tell(index, failed(lodestone::error(outcome.why, where, outcome.remedy).what()));
      }
      if (has_ended || answered == requests.size()) continue;
      clock::time_point wake = clock::now() + std::chrono::seconds(1);
      if (std::ssize(active) < options_.concurrency) {
        for (const waiting& one : retries) wake = std::min(wake, std::max(one.when, hold));
        if (next < requests.size()) wake = std::min(wake, hold);
      }
      const auto pause = std::chrono::ceil<std::chrono::milliseconds>(wake - clock::now()).count();
      require(curl_multi_poll(multi_.get(), nullptr, 0, static_cast<int>(std::max<std::int64_t>(pause, 0)), nullptr));
    }
  }

 private:
  static answer failed(std::string why) {
    answer reply;
    reply.why = finish::failed;
    reply.error = std::move(why);
    return reply;
  }

  static void require(CURLMcode code) {
    if (code != CURLM_OK) throw error("libcurl failed", "endpoint", curl_multi_strerror(code));
  }

  static bool is_conversation(const request& what) {
    return std::holds_alternative<std::vector<chat_message>>(what.prompt);
  }

  [[nodiscard]] std::string address(const request& what) const {
    return options_.url + (is_conversation(what) ? "/chat/completions" : "/completions");
  }

  void add_header(const std::string& line) {
    curl_slist* const first = curl_slist_append(headers_.get(), line.c_str());
    if (first == nullptr) throw std::bad_alloc();
    if (!headers_) headers_.reset(first);  // later lines are put behind the first
  }

  // The address itself is not repeated before it is known to hold no password.
  void check_address() {
    const std::string_view where = "endpoint url";
    const std::string_view remedy = "give the base of the API, such as http://localhost:8000/v1";
    const std::unique_ptr<CURLU, void (*)(CURLU*)> parts(curl_url(), curl_url_cleanup);
    if (!parts || curl_url_set(parts.get(), CURLUPART_URL, options_.url.c_str(), 0) != CURLUE_OK)
      throw config_error("is no address", where, remedy);
    const auto part = [&](CURLUPart which) {
      char* text = nullptr;
      std::string copy;
      if (curl_url_get(parts.get(), which, &text, 0) == CURLUE_OK && text != nullptr) copy = text;
      curl_free(text);
      return copy;
    };
    if (!part(CURLUPART_USER).empty() || !part(CURLUPART_PASSWORD).empty())
      throw config_error("holds a user or password", where,
                         "put the key into an environment variable" +
                             (options_.key_variable.empty() ? "" : ": " + options_.key_variable));
    if (const std::string scheme = part(CURLUPART_SCHEME); scheme != "http" && scheme != "https")
      throw config_error("is not http:// or https://", where, remedy);
    if (!part(CURLUPART_QUERY).empty() || !part(CURLUPART_FRAGMENT).empty())
      throw config_error("holds a query or fragment", where, remedy);
    while (options_.url.ends_with('/')) options_.url.pop_back();
    for (const std::string_view tail : {"/chat/completions", "/completions"})
      if (options_.url.ends_with(tail))
        throw config_error("ends with " + std::string(tail), where, "leave that out: it is added to the base");
  }

  // A key that a shell or container file ends with a line break would otherwise break the header.
  void read_key() {
    if (options_.key_variable.empty()) return;
    const char* const value = std::getenv(options_.key_variable.c_str());
    if (value == nullptr) return;
    key_ = value;
    key_.resize(key_.find_last_not_of(" \t\r\n") + 1);
    const auto is_visible = [](char c) { return c > 0x20 && c < 0x7f; };
    if (!std::all_of(key_.begin(), key_.end(), is_visible))
      throw config_error("the key holds white space, a control character or a letter that is not ASCII",
                         options_.key_variable, "set the environment variable to the key alone");
  }

  void start(std::list<detail::endpoint_attempt>& active, const request& what, std::size_t index, std::int64_t number) {
    detail::endpoint_attempt& one = active.emplace_back();
    one.multi = multi_.get();
    one.easy = curl_easy_init();
    if (one.easy == nullptr) throw std::bad_alloc();
    one.index = index;
    one.number = number;
    one.limit = options_.response_limit;
    one.body = detail::endpoint_body(what, options_);
    const auto set = [&](CURLoption option, auto value) {
      if (const CURLcode code = curl_easy_setopt(one.easy, option, value); code != CURLE_OK)
        throw error("libcurl failed", "endpoint", curl_easy_strerror(code));
    };
    set(CURLOPT_URL, address(what).c_str());
    set(CURLOPT_HTTPHEADER, headers_.get());
    set(CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(one.body.size()));
    set(CURLOPT_POSTFIELDS, one.body.c_str());
    set(CURLOPT_WRITEFUNCTION, &detail::endpoint_attempt::on_data);
    set(CURLOPT_WRITEDATA, static_cast<void*>(&one));
    set(CURLOPT_HEADERFUNCTION, &detail::endpoint_attempt::on_header);
    set(CURLOPT_HEADERDATA, static_cast<void*>(&one));
    set(CURLOPT_ERRORBUFFER, one.message.data());
    set(CURLOPT_CONNECTTIMEOUT_MS, static_cast<long>(options_.connect_timeout.count()));
    set(CURLOPT_TIMEOUT_MS, static_cast<long>(options_.timeout.count()));
    set(CURLOPT_NOSIGNAL, 1L);
    set(CURLOPT_TCP_KEEPALIVE, 1L);  // nothing moves while the model thinks: routers forget silent connections
    set(CURLOPT_FOLLOWLOCATION, 0L);
    require(curl_multi_add_handle(multi_.get(), one.easy));
    ++usage_.attempts;
    if (number > 0) ++usage_.retries;
  }

  detail::endpoint_outcome outcome_of(const detail::endpoint_attempt& one, CURLcode code, bool is_text) const {
    using kind = detail::endpoint_outcome::kind;
    detail::endpoint_outcome result;
    const auto end = [&](kind what, std::string why, std::string remedy = {}) {
      result.what = what;
      result.why = std::move(why);
      result.remedy = std::move(remedy);
      return result;
    };
    if (one.is_too_long)
      return end(kind::failed, "the response is longer than " + std::to_string(one.limit) + " bytes",
                 "is this the right address?");
    if (code != CURLE_OK) {
      const std::string why =
          detail::endpoint_quote(one.message[0] != '\0' ? one.message.data() : curl_easy_strerror(code), key_);
      switch (code) {
        case CURLE_COULDNT_CONNECT:
        case CURLE_COULDNT_RESOLVE_HOST:
        case CURLE_COULDNT_RESOLVE_PROXY:
          return end(kind::unreachable, why, "does the endpoint run there?");
        case CURLE_PEER_FAILED_VERIFICATION:
        case CURLE_SSL_CACERT_BADFILE:
          return end(kind::wrong_settings, why, "check the address and the machine's certificates");
        case CURLE_OPERATION_TIMEDOUT:
          return end(kind::again, why, "raise the time limit, or lower max_new_tokens");
        default: return end(kind::again, why);
      }
    }
    const auto text_of = [&](CURLINFO which) {
      const char* text = nullptr;
      curl_easy_getinfo(one.easy, which, &text);
      return std::string_view(text == nullptr ? "" : text);
    };
    long status = 0;
    curl_easy_getinfo(one.easy, CURLINFO_RESPONSE_CODE, &status);
    result = detail::read_endpoint_response({.status = status,
                                             .body = one.response,
                                             .content_type = text_of(CURLINFO_CONTENT_TYPE),
                                             .location = one.location,
                                             .is_text = is_text},
                                            key_, options_.key_variable);
    if (result.what == kind::again && status >= 400)
      result.pause = detail::retry_after(one.retry_after, static_cast<std::int64_t>(std::time(nullptr)));
    return result;
  }

  struct closer {
    void operator()(curl_slist* list) const { curl_slist_free_all(list); }
    void operator()(CURLM* multi) const { curl_multi_cleanup(multi); }
  };

  endpoint_options options_;
  std::string key_;
  std::unique_ptr<curl_slist, closer> headers_;
  std::unique_ptr<CURLM, closer> multi_;
  endpoint_usage usage_;
  bool is_busy_ = false;
};

LODESTONE_INLINE bool has_endpoint() { return true; }
LODESTONE_INLINE endpoint::endpoint(endpoint_options options) : client_(std::make_unique<client>(std::move(options))) {}
LODESTONE_INLINE void endpoint::generate(std::span<const request> requests, const answer_listener& each) {
  client_->generate(requests, each);
}
LODESTONE_INLINE std::string endpoint::name() const { return client_->options().model; }
LODESTONE_INLINE endpoint_usage endpoint::usage() const { return client_->usage(); }

#else

class endpoint::client {};

LODESTONE_INLINE bool has_endpoint() { return false; }
LODESTONE_INLINE endpoint::endpoint(endpoint_options) {
  throw config_error("this program was compiled without libcurl", "endpoint url",
                     "install libcurl4-openssl-dev and build it again, or use a local model");
}
LODESTONE_INLINE void endpoint::generate(std::span<const request>, const answer_listener&) {}
LODESTONE_INLINE std::string endpoint::name() const { return {}; }
LODESTONE_INLINE endpoint_usage endpoint::usage() const { return {}; }

#endif

LODESTONE_INLINE endpoint::endpoint(endpoint&&) noexcept = default;
LODESTONE_INLINE endpoint& endpoint::operator=(endpoint&&) noexcept = default;
LODESTONE_INLINE endpoint::~endpoint() = default;

}  // namespace lodestone::generate
