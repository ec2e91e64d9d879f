// generate through an endpoint: what comes out, what failures say, and that the key stays where it is.
#include <cctype>
#include <cstdlib>
#include <string>

#include <boost/test/unit_test.hpp>

#include <nlohmann/json.hpp>

#include <lodestone/generate/endpoint.hpp>

#include "examples/program.hpp"
#include "support/http_server.hpp"

namespace {

using lodestone_test::http_connection;
using lodestone_test::http_request;
using lodestone_test::http_server;
using lodestone_test::read_file;
using lodestone_test::run;
using lodestone_test::skip_without_program;
using lodestone_test::temporary_folder;
using lodestone_test::write_file;

const std::string key = "sk-never-to-be-seen";

struct environment {
  environment() {
    setenv("no_proxy", "127.0.0.1", 1);
    setenv("LODESTONE_TEST_CLI_KEY", key.c_str(), 1);
  }
  ~environment() { unsetenv("LODESTONE_TEST_CLI_KEY"); }
};

struct skip_without_libcurl {
  boost::test_tools::assertion_result operator()(boost::unit_test::test_unit_id) const {
    return lodestone::generate::has_endpoint();
  }
};

/// Repeats the prompt in capitals to who has the key.
void shout(const http_request& what, http_connection& back) {
  if (what.headers.find("Authorization: Bearer " + key + "\r\n") == std::string::npos) return back.reply(401, "{}");
  const auto body = nlohmann::json::parse(what.body);
  std::string text = body.contains("prompt") ? body["prompt"].get<std::string>()
                                             : body["messages"].back()["content"].get<std::string>();
  if (text == "unlucky") return back.reply(400, R"({"error": {"message": "not with the key )" + key + R"("}})");
  for (char& c : text) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  const nlohmann::json choice{{"text", text}, {"message", {{"content", text}}}, {"finish_reason", "stop"}};
  back.reply(200, nlohmann::json{{"choices", {choice}}}.dump());
}

}  // namespace

BOOST_AUTO_TEST_SUITE(examples_endpoint, *boost::unit_test::precondition(skip_without_program{}) *
                                             boost::unit_test::precondition(skip_without_libcurl{}))

BOOST_AUTO_TEST_CASE(prompts_are_answered_through_an_endpoint_and_the_key_is_never_written) {
  const environment set;
  const temporary_folder folder;
  http_server server(shout);
  const lodestone_test::words common{"generate",         "--endpoint",
                                     server.url(),       "--endpoint-model",
                                     "loud",             "--endpoint-key-variable",
                                     "LODESTONE_TEST_CLI_KEY", "--endpoint-retries",
                                     "0"};
  const auto with = [&](const lodestone_test::words& more) {
    lodestone_test::words all = common;
    all.insert(all.end(), more.begin(), more.end());
    const auto result = run(folder.path(), all);
    BOOST_TEST((result.out + result.err).find(key) == std::string::npos);
    return result;
  };
  auto result = with({"--prompt", "once upon", "--temperature", "0.5", "--top-p", "0.75", "--stop", "END"});
  BOOST_TEST(result.status == 0, result.err);
  BOOST_TEST(result.out == "ONCE UPON\n");
  const auto body = nlohmann::json::parse(server.requests()[0].body);
  BOOST_TEST((body["model"] == "loud" && body["temperature"] == 0.5 && body["top_p"] == 0.75));
  BOOST_TEST((body["stop"] == nlohmann::json{"END"} && body["prompt"] == "once upon"));
  BOOST_TEST(result.err.find("loud: 1 request, 0 of them retries") != std::string::npos, result.err);

  result = with({"--prompt", "hello", "--chat"});
  BOOST_TEST(result.out == "HELLO\n");
  BOOST_TEST(server.requests()[1].line.find("/v1/chat/completions") != std::string::npos);

  write_file(folder / "in.jsonl", "{\"prompt\": \"a\"}\n{\"id\": \"x\", \"prompt\": \"unlucky\"}\n{\"prompt\": \"c\"}\n");
  result = with({"--data", (folder / "in.jsonl").string()});
  BOOST_TEST(result.status == 1);
  const auto second = nlohmann::json::parse(result.out.substr(result.out.find('\n') + 1,
                                                              result.out.find('\n', result.out.find('\n') + 1) -
                                                                  result.out.find('\n') - 1));
  BOOST_TEST(second["id"] == "x");
  BOOST_TEST(second["error"].get<std::string>().find("not with the key [key]") != std::string::npos);
  BOOST_TEST(result.err.find("1 of 3 prompts have no answer") != std::string::npos, result.err);
}

BOOST_AUTO_TEST_CASE(endpoints_that_cannot_be_used_say_why) {
  const environment set;
  const temporary_folder folder;
  http_server server(shout);
  const std::string missing = "LODESTONE_TEST_NO_SUCH_KEY";
  auto result = run(folder.path(), {"generate", "--prompt", "x", "--endpoint", server.url(), "--endpoint-model", "m",
                                    "--endpoint-key-variable", missing});
  BOOST_TEST(result.status == 2);
  BOOST_TEST(result.err.find("HTTP 401: the key is missing") != std::string::npos, result.err);
  BOOST_TEST(result.err.find(missing) != std::string::npos);
  result = run(folder.path(), {"generate", "--prompt", "x", "--endpoint", server.url()});
  BOOST_TEST(result.status == 2);
  BOOST_TEST(result.err.find("--endpoint-model") != std::string::npos, result.err);
  result = run(folder.path(), {"generate", "--prompt", "x", "--endpoint", server.url(), "--endpoint-model", "m",
                               "--model", "folder"});
  BOOST_TEST(result.status == 2);
  BOOST_TEST(result.err.find("either --model or --endpoint") != std::string::npos, result.err);
  result = run(folder.path(), {"generate", "--prompt", "x", "--endpoint", lodestone_test::refused_url(),
                               "--endpoint-model", "m", "--endpoint-retries", "0"});
  BOOST_TEST(result.status == 1);
  BOOST_TEST(result.err.find("does the endpoint run there?") != std::string::npos, result.err);
}

BOOST_AUTO_TEST_SUITE_END()
