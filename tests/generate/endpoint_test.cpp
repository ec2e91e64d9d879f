#include <lodestone/generate/endpoint.hpp>

#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <mutex>
#include <ostream>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include <boost/test/data/test_case.hpp>
#include <boost/test/unit_test.hpp>

#include <nlohmann/json.hpp>

#include <lodestone/core/error.hpp>
#include <lodestone/core/random.hpp>

#include "support/http_server.hpp"

#if LODESTONE_ENDPOINT  // else only the message can be tested

namespace {

using namespace std::chrono_literals;
using lodestone::chat_message;
using lodestone::chat_role;
using lodestone::generate::answer;
using lodestone::generate::endpoint;
using lodestone::generate::endpoint_options;
using lodestone::generate::finish;
using lodestone::generate::request;
using lodestone_test::http_connection;
using lodestone_test::http_request;
using lodestone_test::http_server;

constexpr const char* key_variable = "LODESTONE_TEST_ENDPOINT_KEY";
const std::string key = "sk-very-secret-0123456789";

// Proxies of the machine would stand between the tests and their server.
struct no_proxy {
  no_proxy() {
    setenv("no_proxy", "127.0.0.1", 1);
    unsetenv(key_variable);
  }
};
const no_proxy is_direct;

/// The key is in the environment while this lives.
struct with_key {
  explicit with_key(const std::string& value = key) { setenv(key_variable, value.c_str(), 1); }
  ~with_key() { unsetenv(key_variable); }
};

std::string chat_body(const std::string& text, const std::string& reason = "stop") {
  const nlohmann::json message{{"role", "assistant"}, {"content", text}};
  return nlohmann::json{{"choices", {{{"message", message}, {"finish_reason", reason}}}},
                        {"usage", {{"prompt_tokens", 7}, {"completion_tokens", 3}}}}
      .dump();
}

std::string text_body(const std::string& text) {
  return nlohmann::json{{"choices", {{{"text", text}, {"finish_reason", "stop"}}}}}.dump();
}

endpoint_options quick(const std::string& url) {
  endpoint_options options;
  options.url = url;
  options.model = "small";
  options.key_variable = key_variable;
  options.first_delay = 2ms;
  options.longest_delay = 8ms;
  options.retries = 2;
  options.timeout = 60s;
  return options;
}

request ask(const std::string& text, double temperature = 0.0) {
  request one;
  one.prompt = std::vector<chat_message>{{chat_role::user, text, {}}};
  one.draw.temperature = temperature;
  return one;
}

std::vector<answer> answers_of(endpoint& model, const std::vector<request>& requests) {
  std::vector<answer> answers(requests.size());
  std::vector<int> heard(requests.size());
  model.generate(requests, [&](std::size_t i, answer&& one) {
    ++heard[i];
    answers[i] = std::move(one);
  });
  for (const int count : heard) BOOST_TEST(count == 1);
  return answers;
}

answer answer_of(endpoint_options options, const request& what) {
  endpoint model(std::move(options));
  return answers_of(model, {what}).front();
}

/// Whether a call throws `Error` with all the parts in its message.
template <class Error, class Call>
void throws(Call&& call, const std::vector<std::string>& parts) {
  try {
    call();
    BOOST_ERROR("nothing was thrown");
  } catch (const Error& failure) {
    for (const std::string& part : parts)
      BOOST_TEST(std::string_view(failure.what()).find(part) != std::string_view::npos,
                 failure.what() << " lacks " << part);
    BOOST_TEST(std::string_view(failure.what()).find(key) == std::string_view::npos);
  }
}

}  // namespace

BOOST_AUTO_TEST_SUITE(generate_endpoint)

BOOST_AUTO_TEST_CASE(conversations_text_and_token_ids_are_sent_as_the_api_wants_them) {
  http_server server([](const http_request& what, http_connection& back) {
    const bool is_chat = what.line.find("/chat/") != std::string::npos;
    back.reply(200, is_chat ? chat_body("zwölf ☃", "length") : text_body("plain"));
  });
  endpoint_options options = quick(server.url() + "/");
  options.concurrency = 1;  // the order of arrival is the order of the requests
  endpoint model(options);
  request chat;
  chat.prompt = std::vector<chat_message>{{chat_role::system, "Be brief.", {}},
                                          {chat_role::user, "Quote \"this\"\n☃", {}},
                                          {chat_role::assistant, "no", {}},
                                          {chat_role::user, "yes", {}}};
  chat.max_new_tokens = 12;
  request text;
  text.prompt = "Once";
  text.draw = {.repetition_penalty = 1.5, .temperature = 0.75, .top_k = 4, .top_p = 0.5, .min_p = 0.25,
               .seed = 0xffff'ffff'ffff'ffffU};
  text.min_new_tokens = 3;
  text.stop = {"\n", "END"};
  text.stop_tokens = {2, 9};
  request ids;
  ids.prompt = std::vector<std::int32_t>{1, 300, 5};
  const std::vector<answer> answers = answers_of(model, {chat, text, ids});
  BOOST_TEST(answers[0].text == "zwölf ☃");
  BOOST_TEST((answers[0].why == finish::length));
  BOOST_TEST(answers[0].prompt_tokens == 7);
  BOOST_TEST(answers[1].text == "plain");
  BOOST_TEST((answers[1].why == finish::stop));
  BOOST_TEST(model.name() == "small");
  BOOST_TEST(model.usage().attempts == 3);
  BOOST_TEST(model.usage().answer_tokens == 3);

  const auto sent = server.requests();
  BOOST_REQUIRE(sent.size() == 3);
  BOOST_TEST(sent[0].line == "POST /v1/chat/completions HTTP/1.1");
  BOOST_TEST(sent[1].line == "POST /v1/completions HTTP/1.1");
  BOOST_TEST(sent[0].headers.find("Content-Type: application/json\r\n") != std::string::npos);
  BOOST_TEST(sent[0].headers.find("Authorization") == std::string::npos);
  using nlohmann::json;
  BOOST_TEST((json::parse(sent[0].body) ==
              json::parse(R"({"model": "small", "max_tokens": 12, "temperature": 0.0, "top_p": 1.0, "messages": [
                {"role": "system", "content": "Be brief."}, {"role": "user", "content": "Quote \"this\"\n☃"},
                {"role": "assistant", "content": "no"}, {"role": "user", "content": "yes"}]})")));
  BOOST_TEST((json::parse(sent[1].body) ==
              json::parse(R"({"model": "small", "max_tokens": 256, "temperature": 0.75, "top_p": 0.5, "prompt": "Once",
                "seed": 9223372036854775807, "stop": ["\n", "END"], "top_k": 4, "min_p": 0.25,
                "repetition_penalty": 1.5, "min_tokens": 3, "stop_token_ids": [2, 9]})")));
  BOOST_TEST((json::parse(sent[2].body)["prompt"] == json::parse("[1, 300, 5]")));
}

BOOST_AUTO_TEST_CASE(the_limit_of_tokens_has_the_name_that_the_endpoint_wants) {
  endpoint_options options = quick("http://127.0.0.1:1/v1");
  options.length_field = "max_completion_tokens";
  const auto body = nlohmann::json::parse(lodestone::generate::detail::endpoint_body(ask("x"), options));
  BOOST_TEST(body.contains("max_completion_tokens"));
  BOOST_TEST(!body.contains("max_tokens"));
}

BOOST_AUTO_TEST_CASE(so_many_requests_are_under_way_and_no_more) {
  std::atomic<int> at_once{0}, most{0};
  http_server server([&](const http_request& what, http_connection& back) {
    const int now = ++at_once;
    for (int seen = most; seen < now && !most.compare_exchange_weak(seen, now);) {
    }
    (void)back.wait(50ms);
    const auto body = nlohmann::json::parse(what.body);
    --at_once;  // before the reply, which makes the client send the next
    back.reply(200, chat_body("to " + body["messages"][0]["content"].get<std::string>()));
  });
  endpoint_options options = quick(server.url());
  options.concurrency = 3;
  endpoint model(options);
  std::vector<request> requests;
  for (int i = 0; i < 12; ++i) requests.push_back(ask(std::to_string(i)));
  const std::vector<answer> answers = answers_of(model, requests);
  for (std::size_t i = 0; i < answers.size(); ++i) BOOST_TEST(answers[i].text == "to " + std::to_string(i));
  BOOST_TEST(most == 3);
}

BOOST_AUTO_TEST_CASE(the_key_comes_from_the_environment_and_goes_into_its_header_alone) {
  const with_key is_set(key + "\r\n");  // as a file that a shell read it from may end
  std::string notes;
  http_server server([](const http_request& what, http_connection& back) {
    // Endpoints that repeat what they were sent: a body, a header, a redirect, a refusal.
    const std::string echo = R"({"error": {"message": "you sent )" + key + " and " + key + R"("}})";
    if (what.number == 0) back.reply(500, echo);
    if (what.number == 1) back.reply(200, "<html>" + key + "</html>", "Content-Type: text/" + key + "\r\n");
    if (what.number == 2) back.reply(400, echo);
    if (what.number == 3) back.reply(302, "", "Location: http://127.0.0.1:1/" + key + "\r\n");
    if (what.number == 4) back.reply(401, R"({"error": {"message": "Incorrect API key provided: sk-very*****6789"}})");
    if (what.number == 5) back.reply(403, echo);
  });
  endpoint_options options = quick(server.url());
  options.note = [&](std::string_view line) { notes += std::string(line) + "\n"; };
  endpoint model(options);
  const answer refused = answers_of(model, {ask("x")}).front();
  BOOST_TEST((refused.why == finish::failed));
  BOOST_TEST(refused.error.find("HTTP 400: you sent [key] and [key]") != std::string::npos, refused.error);
  BOOST_TEST(notes.find("HTTP 500: you sent [key] and [key]") != std::string::npos, notes);
  BOOST_TEST(notes.find("text/[key]") != std::string::npos, notes);
  BOOST_TEST((refused.error + notes + model.name()).find(key) == std::string::npos);
  const auto call = [&] { answers_of(model, {ask("x")}); };
  throws<lodestone::config_error>(call, {"HTTP 302", "http://127.0.0.1:1/[key]"});
  throws<lodestone::config_error>(call, {"HTTP 401: the key is refused", key_variable});
  throws<lodestone::config_error>(call, {"HTTP 403: you sent [key] and [key]"});
  for (const http_request& one : server.requests()) {
    BOOST_TEST(one.headers.find("Authorization: Bearer " + key + "\r\n") != std::string::npos);
    BOOST_TEST(one.body.find(key) == std::string::npos);
    BOOST_TEST(one.line.find(key) == std::string::npos);
  }
}

BOOST_AUTO_TEST_CASE(addresses_keys_and_numbers_that_cannot_be_used_are_refused_without_repeating_a_secret) {
  const auto make = [](const std::string& url) { return [url] { endpoint model(quick(url)); }; };
  throws<lodestone::config_error>(make("ftp://host/v1"), {"endpoint url", "http"});
  throws<lodestone::config_error>(make("host/v1"), {"endpoint url"});
  throws<lodestone::config_error>(make(""), {"endpoint url"});
  throws<lodestone::config_error>(make("http://user:" + key + "@host/v1"), {"user or password", key_variable});
  throws<lodestone::config_error>(make("http://host/v1?key=" + key), {"query"});
  throws<lodestone::config_error>(make("http://host/v1/chat/completions"), {"leave that out"});
  {
    const with_key is_set(key + "\r\nX-Header: 1");
    throws<lodestone::config_error>(make("http://host/v1"), {key_variable, "white space"});
  }
  endpoint_options options = quick("http://host/v1");
  options.concurrency = 0;
  throws<lodestone::config_error>([&] { endpoint model(options); }, {"concurrency", "at least 1"});
  options = quick("http://host/v1");
  options.model.clear();
  throws<lodestone::config_error>([&] { endpoint model(options); }, {"model"});
}

BOOST_AUTO_TEST_CASE(requests_that_cannot_be_sent_fail_alone) {
  http_server server([](const http_request&, http_connection& back) { back.reply(200, chat_body("good")); });
  endpoint model(quick(server.url()));
  request empty;
  request long_less = ask("x");
  long_less.max_new_tokens = 0;
  const auto answers = answers_of(model, {empty, ask("\xff\xfe"), ask("x"), long_less});
  BOOST_TEST(answers[0].error == "the prompt is empty");
  BOOST_TEST(answers[1].error == "the prompt is not UTF-8");
  BOOST_TEST(answers[2].text == "good");
  BOOST_TEST((answers[3].why == finish::failed));
  BOOST_TEST(server.requests().size() == 1U);
}

BOOST_AUTO_TEST_CASE(a_refused_connection_is_tried_again_and_then_ends_the_call) {
  endpoint model(quick(lodestone_test::refused_url()));
  throws<lodestone::io_error>([&] { answers_of(model, {ask("x"), ask("y")}); },
                              {"127.0.0.1", "(asked 3 times)", "does the endpoint run there?"});
  BOOST_TEST(model.usage().attempts >= 3);
}

// What is wrong once and right afterwards is answered; what stays wrong is a failure in the endpoint's words.
struct fault {
  const char* name;
  std::function<void(const http_request&, http_connection&)> act;
  const char* words;
};
std::ostream& operator<<(std::ostream& out, const fault& one) { return out << one.name; }

const std::string half_body = chat_body("never whole").substr(0, 30);
const fault retried_faults[] = {
    {"time-out", [](const http_request&, http_connection& back) { (void)back.wait(2s); }, "timed out"},
    {"slow trickle",
     [](const http_request&, http_connection& back) {
       back.send("HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n");
       for (int i = 0; i < 400 && !back.wait(5ms); ++i) back.send(" ");
     },
     "timed out"},
    {"429 without Retry-After",
     [](const http_request&, http_connection& back) { back.reply(429, R"({"error": {"message": "slow down"}})"); },
     "HTTP 429: slow down"},
    {"429 with Retry-After",
     [](const http_request&, http_connection& back) { back.reply(429, "{}", "Retry-After: 0\r\n"); }, "HTTP 429"},
    {"429 with a date",
     [](const http_request&, http_connection& back) {
       back.reply(429, "{}", "Retry-After: Wed, 21 Oct 2015 07:28:00 GMT\r\n");
     },
     "HTTP 429"},
    {"408", [](const http_request&, http_connection& back) { back.reply(408, ""); }, "HTTP 408"},
    {"409", [](const http_request&, http_connection& back) { back.reply(409, ""); }, "HTTP 409"},
    {"500", [](const http_request&, http_connection& back) { back.reply(500, R"({"detail": "it broke"})"); },
     "HTTP 500: it broke"},
    {"503 as a page of HTML",
     [](const http_request&, http_connection& back) {
       back.reply(503, "<html>\r\n<h1>Service   Unavailable</h1>", "Content-Type: text/html\r\n");
     },
     "HTTP 503: <html> <h1>Service Unavailable</h1>"},
    {"malformed JSON", [](const http_request&, http_connection& back) { back.reply(200, "{\"choices\": [,]}"); },
     "no JSON object"},
    {"truncated JSON", [](const http_request&, http_connection& back) { back.reply(200, half_body); },
     "no JSON object"},
    {"JSON that is not UTF-8",
     [](const http_request&, http_connection& back) { back.reply(200, "{\"choices\": [{\"text\": \"\xff\"}]}"); },
     "no JSON object"},
    {"a connection cut inside the body",
     [](const http_request&, http_connection& back) {
       back.send("HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n" + half_body);
     },
     "transfer closed"},
    {"a connection cut inside a chunk",
     [](const http_request&, http_connection& back) {
       back.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nff\r\n{\"choi");
     },
     "closed"},
    {"a connection cut inside the headers",
     [](const http_request&, http_connection& back) { back.send("HTTP/1.1 200 OK\r\nContent-Le"); }, ""},
    {"no response at all", [](const http_request&, http_connection&) {}, "Empty reply"},
    {"no HTTP", [](const http_request&, http_connection& back) { back.send("SSH-2.0-OpenSSH_9.2\r\n"); }, ""},
    {"an empty body", [](const http_request&, http_connection& back) { back.reply(200, ""); }, "the response is empty"},
    {"no choices", [](const http_request&, http_connection& back) { back.reply(200, R"({"choices": []})"); },
     "holds no answer"},
    {"null for text",
     [](const http_request&, http_connection& back) {
       back.reply(200, R"({"choices": [{"message": {"content": null}, "finish_reason": "length"}]})");
     },
     "holds no text (it ended by length)"},
    {"another shape",
     [](const http_request&, http_connection& back) { back.reply(200, R"({"choices": [{"message": "text"}]})"); },
     "holds no text"},
    {"an error under status 200",
     [](const http_request&, http_connection& back) { back.reply(200, R"({"error": {"message": "upstream"}})"); },
     "the endpoint failed: upstream"},
    {"an HTML page under status 200",
     [](const http_request&, http_connection& back) {
       back.reply(200, "<html>Welcome</html>", "Content-Type: text/html\r\n");
     },
     "but text/html: <html>Welcome</html>"},
};

BOOST_DATA_TEST_CASE(faults_that_pass_are_answered_and_faults_that_stay_are_failures,
                     boost::unit_test::data::make(retried_faults)) {
  for (const int faulty : {1, 3}) {
    http_server server([&](const http_request& what, http_connection& back) {
      if (what.number < faulty)
        sample.act(what, back);
      else
        back.reply(200, chat_body("good"));
    });
    endpoint_options options = quick(server.url());
    const bool is_slow = std::string_view(sample.words) == "timed out";
    if (is_slow) options.timeout = 200ms;
    const answer one = answer_of(options, ask("x"));
    if (faulty == 1) {
      BOOST_TEST(one.text == "good", one.error);
      BOOST_TEST(one.error.empty());
      BOOST_TEST((server.requests().size() == 2U || is_slow));  // a busy machine may be too slow for once
    } else {
      BOOST_TEST((one.why == finish::failed));
      BOOST_TEST(one.text.empty());
      BOOST_TEST(one.error.find(server.url() + "/chat/completions: ") == 0U, one.error);
      BOOST_TEST(one.error.find(sample.words) != std::string::npos, one.error);
      BOOST_TEST(one.error.find("(asked 3 times)") != std::string::npos, one.error);
      BOOST_TEST(server.requests().size() == 3U);
    }
  }
}

BOOST_AUTO_TEST_CASE(requests_that_the_endpoint_refuses_fail_at_once_and_alone) {
  http_server server([](const http_request& what, http_connection& back) {
    if (what.body.find("long") != std::string::npos)
      back.reply(400, R"({"object": "error", "message": "maximum context length is 4096 tokens"})");
    else if (what.body.find("filtered") != std::string::npos)
      back.reply(200, R"({"choices": [{"message": {"content": ""}, "finish_reason": "content_filter"}]})");
    else
      back.reply(200, chat_body("good"));
  });
  endpoint model(quick(server.url()));
  const auto answers = answers_of(model, {ask("long"), ask("filtered"), ask("x")});
  BOOST_TEST(answers[0].error.find("HTTP 400: maximum context length is 4096 tokens") != std::string::npos);
  BOOST_TEST(answers[0].error.find("asked") == std::string::npos);
  BOOST_TEST(answers[1].error.find("filter withheld") != std::string::npos);
  BOOST_TEST(answers[2].text == "good");
  BOOST_TEST(server.requests().size() == 3U);
}

BOOST_AUTO_TEST_CASE(what_is_wrong_for_every_request_ends_the_call_at_once) {
  int status = 0;
  std::string body = "{}";
  http_server server([&](const http_request&, http_connection& back) { back.reply(status, body); });
  endpoint_options options = quick(server.url());
  options.concurrency = 1;
  const auto call = [&] {
    endpoint model(options);
    answers_of(model, {ask("x"), ask("y")});
  };
  status = 401;
  throws<lodestone::config_error>(call, {"HTTP 401: the key is missing", key_variable});
  status = 403;
  throws<lodestone::config_error>(call, {"HTTP 403"});
  status = 404;
  body = R"({"error": {"message": "The model `small` does not exist."}})";
  throws<lodestone::config_error>(call, {"HTTP 404: The model `small` does not exist."});
  status = 429;
  body = R"({"error": {"message": "You exceeded your quota", "code": "insufficient_quota"}})";
  throws<lodestone::io_error>(call, {"HTTP 429: You exceeded your quota", "out of credit"});
  BOOST_TEST(server.requests().size() == 4U);
}

BOOST_AUTO_TEST_CASE(redirects_are_reported_and_never_followed) {
  const with_key is_set;
  http_server other([](const http_request&, http_connection& back) { back.reply(200, chat_body("stolen")); });
  http_server server([&](const http_request&, http_connection& back) {
    back.reply(307, "", "Location: " + other.url() + "/chat/completions\r\n");
  });
  throws<lodestone::config_error>([&] { answer_of(quick(server.url()), ask("x")); },
                                  {"HTTP 307", other.url(), "keys do not follow redirects"});
  BOOST_TEST(other.requests().empty());
}

BOOST_AUTO_TEST_CASE(responses_have_a_largest_size) {
  http_server server([](const http_request& what, http_connection& back) {
    if (what.body.find("endless") != std::string::npos) {
      back.send("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n");
      while (!back.wait(0ms)) back.send(std::string(65'536, ' '));  // until the client goes
    } else {
      back.reply(200, chat_body(std::string(300'000, 'a')));
    }
  });
  endpoint_options options = quick(server.url());
  options.response_limit = 1 << 20;
  endpoint model(options);
  const auto answers = answers_of(model, {ask("endless"), ask("large")});
  BOOST_TEST(answers[0].error.find("longer than 1048576 bytes") != std::string::npos, answers[0].error);
  BOOST_TEST(answers[1].text.size() == 300'000U);
  BOOST_TEST(server.requests().size() == 2U);  // not tried again: it would be as long
}

BOOST_AUTO_TEST_CASE(chunked_responses_wrong_content_types_refusals_and_empty_text_are_answers) {
  http_server server([](const http_request& what, http_connection& back) {
    const std::string body = chat_body("in three chunks");
    if (what.body.find("chunked") != std::string::npos) {
      back.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
      for (const std::size_t begin : {std::size_t{0}, std::size_t{10}, std::size_t{25}}) {
        const std::string part = body.substr(begin, begin == 0 ? 10 : begin == 10 ? 15 : std::string::npos);
        char size[16];
        std::snprintf(size, sizeof size, "%zx\r\n", part.size());
        back.send(size + part + "\r\n");
        (void)back.wait(5ms);
      }
      back.send("0\r\n\r\n");
    }
    if (what.body.find("typed") != std::string::npos) back.reply(200, chat_body("text"), "Content-Type: text/html\r\n");
    if (what.body.find("refused") != std::string::npos)
      back.reply(200, R"({"choices": [{"message": {"content": null, "refusal": "I cannot"}}]})");
    if (what.body.find("empty") != std::string::npos) back.reply(200, chat_body(""));
  });
  endpoint model(quick(server.url()));
  const auto answers = answers_of(model, {ask("chunked"), ask("typed"), ask("refused"), ask("empty")});
  BOOST_TEST(answers[0].text == "in three chunks");
  BOOST_TEST(answers[1].text == "text");
  BOOST_TEST(answers[2].text == "I cannot");
  BOOST_TEST(answers[3].text.empty());
  BOOST_TEST((answers[3].why == finish::stop));
  BOOST_TEST(server.requests().size() == 4U);
}

BOOST_AUTO_TEST_CASE(no_response_breaks_its_reader) {
  using namespace lodestone::generate::detail;
  const std::string whole = chat_body("text");
  lodestone::random_stream random(5, lodestone::random_purpose::user);
  const std::string alphabet = "{}[]\",:0e-\\nulltrue \xff\xc3";
  int answered = 0;
  for (int round = 0; round < 20'000; ++round) {
    std::string body = whole;
    for (std::uint64_t edits = random.below(4); edits > 0; --edits) {
      const std::size_t at = random.below(body.size());
      switch (random.below(4)) {
        case 0: body.erase(at, 1 + random.below(8)); break;
        case 1: body.insert(at, 1, alphabet[random.below(alphabet.size())]); break;
        case 2: body[at] = alphabet[random.below(alphabet.size())]; break;
        default: body.resize(at + 1);
      }
      if (body.empty()) break;
    }
    const long statuses[] = {200, 201, 302, 400, 401, 404, 429, 500, 0, 999};
    const bool is_text = random.below(2) == 1;
    const endpoint_outcome outcome = read_endpoint_response(
        {.status = statuses[random.below(10)], .body = body, .content_type = {}, .location = {}, .is_text = is_text},
        "text", "");
    answered += outcome.what == endpoint_outcome::kind::answered ? 1 : 0;
    if (outcome.what == endpoint_outcome::kind::answered) continue;
    BOOST_REQUIRE(!outcome.why.empty());
    BOOST_REQUIRE(outcome.why.find("text\"") == std::string::npos);  // stands for the key
    BOOST_REQUIRE(outcome.why.size() < 500U);
  }
  BOOST_TEST(answered > 500);
  // Nesting as deep as the limit of a response allows.
  const std::string deep(2'000'000, '[');
  (void)read_endpoint_response({.status = 200, .body = deep, .content_type = {}, .location = {}}, "", "");
}

BOOST_AUTO_TEST_CASE(quotations_are_one_line_short_and_whole) {
  using lodestone::generate::detail::endpoint_quote;
  BOOST_TEST(endpoint_quote(" a\r\n\t b ", "") == "a b");
  BOOST_TEST(endpoint_quote("", "") == "");
  BOOST_TEST(endpoint_quote(std::string(300, 'x'), "") == std::string(300, 'x'));
  BOOST_TEST(endpoint_quote(std::string(301, 'x'), "") == std::string(300, 'x') + "...");
  BOOST_TEST(endpoint_quote(std::string(299, 'x') + "äx", "") == std::string(299, 'x') + "...");
  BOOST_TEST(endpoint_quote(std::string(296, 'x') + "secretsecret!", "secret") == std::string(296, 'x') + "[key]...");
}

BOOST_AUTO_TEST_CASE(retry_after_is_obeyed_by_all_requests) {
  using clock = std::chrono::steady_clock;
  std::mutex mutex;
  std::vector<clock::time_point> times;
  http_server server([&](const http_request& what, http_connection& back) {
    {
      const std::lock_guard lock(mutex);
      times.push_back(clock::now());
    }
    if (what.number == 0)
      back.reply(429, "{}", "retry-after:  1 \r\n");
    else
      back.reply(200, chat_body("good"));
  });
  endpoint_options options = quick(server.url());
  options.concurrency = 1;
  endpoint model(options);
  for (const answer& one : answers_of(model, {ask("x"), ask("y"), ask("z")})) BOOST_TEST(one.text == "good", one.error);
  BOOST_REQUIRE(times.size() == 4U);
  BOOST_TEST((times[1] - times[0] >= 990ms));
  BOOST_TEST(model.usage().retries == 1);

  http_server busy([](const http_request&, http_connection& back) { back.reply(503, "{}", "Retry-After: 86400\r\n"); });
  const answer one = answer_of(quick(busy.url()), ask("x"));
  BOOST_TEST(one.error.find("it asks for a pause of 86400 s") != std::string::npos, one.error);
  BOOST_TEST(busy.requests().size() == 1U);
}

BOOST_AUTO_TEST_CASE(retry_after_is_read_as_seconds_and_as_dates) {
  const auto seconds = [](std::string_view text) -> std::int64_t {
    const auto pause = lodestone::generate::detail::retry_after(text, 784'111'777 - 30);  // RFC 9110's date, less 30 s
    return pause ? pause->count() : -1;
  };
  BOOST_TEST(seconds("120") == 120'000);
  BOOST_TEST(seconds(" 0 ") == 0);
  BOOST_TEST(seconds("Sun, 06 Nov 1994 08:49:37 GMT") == 30'000);
  BOOST_TEST(seconds("Sunday, 06-Nov-94 08:49:37 GMT") == 30'000);
  BOOST_TEST(seconds("Sun Nov  6 08:49:37 1994") == 30'000);
  BOOST_TEST(seconds("Sun, 06 Nov 1994 08:49:00 GMT") == 0);  // has passed
  for (const char* text : {"", "  ", "soon", "-5", "1e9x", "\xff"}) BOOST_TEST(seconds(text) == -1, text);
  BOOST_TEST(seconds("99999999999999999999") > 1'000'000'000);  // does not overflow
}

BOOST_AUTO_TEST_CASE(delays_double_up_to_their_limit_and_are_spread_by_the_seed) {
  endpoint_options options;
  options.first_delay = 100ms;
  options.longest_delay = 1000ms;
  using lodestone::generate::detail::retry_delay;
  double sum = 0;
  for (std::uint64_t index = 0; index < 200; ++index)
    for (const std::int64_t attempt : {0, 1, 2, 3, 4, 50, 500}) {
      const std::int64_t whole = attempt < 4 ? 100 << attempt : 1000;
      const std::int64_t delay = retry_delay(options, index, attempt).count();
      BOOST_TEST(delay >= whole / 2);
      BOOST_TEST(delay <= whole);
      BOOST_TEST(retry_delay(options, index, attempt).count() == delay);
      if (attempt == 3) sum += static_cast<double>(delay);
    }
  BOOST_TEST(sum / 200 == 600.0, boost::test_tools::tolerance(0.05));  // uniform in [400, 800)
  endpoint_options other = options;
  other.seed = 1;
  BOOST_TEST((retry_delay(options, 0, 3) != retry_delay(other, 0, 3)));
  BOOST_TEST((retry_delay(options, 0, 3) != retry_delay(options, 1, 3)));
  options.first_delay = 0ms;
  BOOST_TEST(retry_delay(options, 0, 500).count() == 0);
}

BOOST_AUTO_TEST_CASE(an_exception_of_the_listener_ends_what_is_under_way_and_the_endpoint_goes_on) {
  http_server server([](const http_request& what, http_connection& back) {
    if (what.body.find("slow") != std::string::npos && back.wait(60s)) return;
    back.reply(200, chat_body("good"));
  });
  endpoint_options options = quick(server.url());
  endpoint model(options);
  const auto begin = std::chrono::steady_clock::now();
  const auto fail = [&](std::size_t, answer&&) { throw std::logic_error("enough"); };
  const std::vector<request> requests{ask("slow"), ask("quick"), ask("slow")};
  BOOST_CHECK_THROW(model.generate(requests, fail), std::logic_error);
  BOOST_TEST((std::chrono::steady_clock::now() - begin < 20s));
  BOOST_TEST(answers_of(model, {ask("x")}).front().text == "good");
  const auto nest = [&](std::size_t, answer&&) { answers_of(model, {ask("y")}); };
  BOOST_CHECK_THROW(model.generate(std::vector<request>{ask("x")}, nest), lodestone::error);
  endpoint moved(std::move(model));
  BOOST_TEST(answers_of(moved, {}).empty());
  BOOST_TEST(answers_of(moved, {ask("x")}).front().text == "good");
}

BOOST_AUTO_TEST_SUITE_END()

#else

BOOST_AUTO_TEST_SUITE(generate_endpoint)

BOOST_AUTO_TEST_CASE(a_program_without_libcurl_says_what_to_install) {
  BOOST_TEST(!lodestone::generate::has_endpoint());
  const auto says = [](const lodestone::config_error& failure) {
    return std::string_view(failure.what()).find("libcurl4-openssl-dev") != std::string_view::npos;
  };
  BOOST_CHECK_EXCEPTION(lodestone::generate::endpoint({.url = "http://host/v1"}), lodestone::config_error, says);
}

BOOST_AUTO_TEST_SUITE_END()

#endif
