// generate and chat as their users call them: streams, files of prompts, seeds, conversations on a pipe.
#include <boost/test/unit_test.hpp>

#include <cstdint>
#include <sstream>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include <lodestone/text/tokenizer.hpp>

#include "examples/program.hpp"
#include "support/support.hpp"

namespace {

using lodestone_test::check_refused;
using lodestone_test::has;
using lodestone_test::model;
using lodestone_test::run;
using lodestone_test::skip_without_program;
using lodestone_test::temporary_folder;
using lodestone_test::words;
using lodestone_test::write_file;
using result = lodestone_test::program_result;

words with(words arguments, const words& more) {
  arguments.insert(arguments.end(), more.begin(), more.end());
  return arguments;
}

std::vector<nlohmann::json> json_lines(const std::string& text) {
  std::istringstream stream(text);
  std::vector<nlohmann::json> lines;
  for (std::string line; std::getline(stream, line);) lines.push_back(nlohmann::json::parse(line));
  return lines;
}

const words chat_format{"--template", "custom", "--custom-template-user-prefix", "Question: ",
                        "--custom-template-user-suffix", "\n", "--custom-template-assistant-prefix", "Answer:",
                        "--custom-template-end-token", "{eos}"};

}  // namespace

BOOST_AUTO_TEST_SUITE(examples_generate, *boost::unit_test::precondition(skip_without_program()))

BOOST_AUTO_TEST_CASE(a_seed_repeats_a_text_and_stop_strings_end_it) {
  const temporary_folder folder;
  const words asked{"generate", "--model", model(), "--prompt", "Once upon a time", "--max-new-tokens", "40",
                    "--temperature", "0.9", "--top-k", "50", "--top-p", "0.95", "--min-p", "0.01",
                    "--repetition-penalty", "1.05"};
  const result one = run(folder.path(), with(asked, {"--seed", "5"}));
  BOOST_TEST(one.status == 0, one.err);
  BOOST_TEST(run(folder.path(), with(asked, {"--seed", "5", "--threads", "2"})).out == one.out);
  BOOST_TEST(run(folder.path(), with(asked, {"--seed", "6"})).out != one.out);
  const std::string stop = one.out.substr(12, 5);
  const result stopped = run(folder.path(), with(asked, {"--seed", "5", "--stop", "never, there", "--stop", stop}));
  BOOST_TEST(stopped.out == one.out.substr(0, one.out.find(stop)) + "\n");
}

BOOST_AUTO_TEST_CASE(every_line_of_a_file_is_answered_in_its_order) {
  const temporary_folder folder;
  write_file(folder / "prompts.jsonl",
             "{\"prompt\": \"Once upon a time\", \"id\": \"first\"}\n"
             "{\"tokens\": [1, 80, 147], \"max_new_tokens\": 2}\n\n"
             "{\"tokens\": [], \"id\": 7, \"source\": \"somewhere\"}\n"
             "{\"prompt\": \"Once upon a time\", \"stop\": [\",\"]}\n"
             "{\"messages\": [{\"role\": \"user\", \"content\": \"Who?\"}]}\n");
  const words asked = with({"generate", "--model", model(), "--data", "prompts.jsonl", "--max-new-tokens", "20"},
                           chat_format);
  const result r = run(folder.path(), asked);
  BOOST_TEST(r.status == 1);  // one prompt has no tokens
  BOOST_TEST(has(r.err, "1 of 5 prompts"), r.err);
  const auto lines = json_lines(r.out);
  BOOST_REQUIRE(lines.size() == 5U);
  BOOST_TEST(lines[0].at("id") == "first");
  BOOST_TEST(lines[0].at("tokens").size() == 20U);
  BOOST_TEST(lines[0].at("finish") == "length");
  const auto alone = run(folder.path(), {"generate", "--model", model(), "--prompt", "Once upon a time",
                                         "--max-new-tokens", "20"});
  BOOST_TEST(lines[0].at("text").get<std::string>() + "\n" == alone.out);
  BOOST_TEST(lines[1].at("id") == 1);
  BOOST_TEST(lines[1].at("prompt_tokens") == 3);
  BOOST_TEST(lines[1].at("tokens").size() == 2U);
  BOOST_TEST(lines[2].at("id") == 7);
  BOOST_TEST(has(lines[2].at("error").get<std::string>(), "no tokens"));
  BOOST_TEST(lines[3].at("finish") == "stop");
  BOOST_TEST(!has(lines[3].at("text").get<std::string>(), ","));
  BOOST_TEST(lines[4].at("prompt_tokens").get<int>() > 5);
  BOOST_TEST(run(folder.path(), with(asked, {"--at-once", "1"})).out == r.out);
}

BOOST_AUTO_TEST_CASE(files_that_hold_no_prompts_are_refused_with_their_line) {
  const temporary_folder folder;
  for (const std::string bad : {R"({"text": "x"})", R"({"prompt": "x", "tokens": [1]})", R"({"prompt": 3})",
                                 R"({"messages": [{"role": "robot", "content": "x"}]})", R"({"prompt": "x")",
                                 R"(["x"])", R"({"prompt": "x", "id": {}})", R"({"tokens": ["a"]})"}) {
    write_file(folder / "prompts.jsonl", "{\"prompt\": \"fine\"}\n" + bad + "\n");
    const result r = run(folder.path(), {"generate", "--model", model(), "--data", "prompts.jsonl"});
    BOOST_TEST(r.status == 1);
    BOOST_TEST(r.out.empty());
    BOOST_TEST(has(r.err, "prompts.jsonl:2"), r.err);
  }
}

BOOST_AUTO_TEST_CASE(settings_that_make_no_sense_are_refused) {
  const temporary_folder folder;
  const words asked{"generate", "--model", model(), "--prompt", "x"};
  check_refused(run(folder.path(), with(asked, {"--top-p", "0"})), {"top_p"});
  check_refused(run(folder.path(), with(asked, {"--temperature", "-1"})), {"temperature"});
  check_refused(run(folder.path(), with(asked, {"--min-p", "2"})), {"min_p"});
  check_refused(run(folder.path(), with(asked, {"--repetition-penalty", "0"})), {"repetition_penalty"});
  check_refused(run(folder.path(), with(asked, {"--data", "d.jsonl"})), {"--prompt"});
  check_refused(run(folder.path(), with(asked, {"--max-new-tokens", "0"})), {"max"});
  check_refused(run(folder.path(), {"chat", "--model", model(), "--prompt", "x"}), {"--prompt"});
}

// The conversation on a pipe is what generate makes of the messages; /new forgets them, and what follows /exit is not
// read.
BOOST_AUTO_TEST_CASE(a_conversation_keeps_its_history) {
  const temporary_folder folder;
  write_file(folder / "said.txt", "Who is Lily?\r\n\nWhat did she do?\n/new\nWho is Lily?\n/exit\nMore?\n");
  const words more{"--max-new-tokens", "12", "--system", "A tale. "};
  const result r = run(folder.path(), with(with({"chat", "--model", model()}, chat_format), more), "said.txt");
  BOOST_TEST(r.status == 0, r.err);
  const auto ask = [&](const nlohmann::json& messages) {
    write_file(folder / "one.jsonl", nlohmann::json{{"messages", messages}}.dump() + "\n");
    const result one =
        run(folder.path(), with(with({"generate", "--model", model(), "--data", "one.jsonl"}, chat_format), more));
    BOOST_TEST(one.status == 0, one.err);
    return json_lines(one.out).at(0).at("text").get<std::string>();
  };
  nlohmann::json messages = {{{"role", "system"}, {"content", "A tale. "}},
                             {{"role", "user"}, {"content", "Who is Lily?"}}};
  const std::string first = ask(messages);
  messages.push_back({{"role", "assistant"}, {"content", first}});
  messages.push_back({{"role", "user"}, {"content", "What did she do?"}});
  const std::string second = ask(messages);
  BOOST_TEST(r.out == first + "\n" + second + "\n" + first + "\n");
}

BOOST_AUTO_TEST_SUITE_END()
