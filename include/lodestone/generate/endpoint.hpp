// A model behind an OpenAI-compatible HTTP endpoint (vLLM, llama.cpp, SGLang, OpenAI and many more) as a generator.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include <lodestone/generate/concept.hpp>
#include <lodestone/generate/endpoint_protocol.hpp>

namespace lodestone::generate {

/// What was asked of an endpoint so far.
struct endpoint_usage {
  std::int64_t attempts = 0;       ///< HTTP requests, the retries among them
  std::int64_t retries = 0;        ///< attempts beyond the first of a request
  std::int64_t prompt_tokens = 0;  ///< as the endpoint counts them; 0 where it does not
  std::int64_t answer_tokens = 0;  ///< likewise
};

/// A generator over libcurl.
///
/// Conversations go to /chat/completions; text and token ids go to /completions as they are (arrays of ids are
/// understood by vLLM and OpenAI). Sent always: model, temperature, top_p, the limit of tokens; seed where the
/// temperature is not 0 (its lower 63 bits), stop where there is one. Sent only where they do something, because they
/// are extensions that vLLM understands and others may refuse: top_k, min_p, repetition_penalty, min_tokens,
/// stop_token_ids. answer::tokens stays empty.
///
/// Asked again, with delays that double and are spread by a seeded jitter: connections that fail or break, time-outs,
/// 408, 409, 425, 429 and 5xx, responses that are not JSON or hold no answer. Retry-After (seconds or a date) is obeyed
/// and holds back the requests that have not begun too. After the last retry, and for other statuses such as 400, the
/// answer is finish::failed with the endpoint's own words. What would fail for every request throws: config_error for
/// 401, 403, 404, 405, redirects (the key must not follow them), a certificate that cannot be checked; io_error where
/// nothing answers at the address after all retries, or the account is out of credit.
///
/// Text that is empty, but ended regularly, is an answer. An exception from the listener ends all that is under way and
/// passes through; the endpoint can be used again. Proxies are taken from the environment as curl does (http_proxy,
/// https_proxy, no_proxy). Needs libcurl: in a program compiled without it the constructor throws config_error.
class endpoint {
 public:
  /// Connects to nothing yet. Throws config_error for an address, key or number that cannot be used.
  explicit endpoint(endpoint_options options);
  /// Moves: the source can only be destroyed or assigned to.
  ///@{
  endpoint(endpoint&&) noexcept;
  endpoint& operator=(endpoint&&) noexcept;
  ///@}
  ~endpoint();

  /// Asks for all answers, `concurrency` at once; see generator.
  void generate(std::span<const request> requests, const answer_listener& each);
  /// The model's name.
  [[nodiscard]] std::string name() const;
  /// Counts since the construction.
  [[nodiscard]] endpoint_usage usage() const;

 private:
  class client;
  std::unique_ptr<client> client_;
};
static_assert(generator<endpoint>);

/// Whether this program was compiled with libcurl.
[[nodiscard]] bool has_endpoint();

namespace detail {

/// The pause that a Retry-After header asks for: seconds, or the time until an HTTP date (RFC 9110, 10.2.3); `now` is
/// Unix time. A date that has passed is 0; nothing for other text.
[[nodiscard]] std::optional<std::chrono::milliseconds> retry_after(std::string_view value, std::int64_t now);

}  // namespace detail

}  // namespace lodestone::generate

#ifndef LODESTONE_COMPILED
#include <lodestone/generate/endpoint.ipp>
#endif
