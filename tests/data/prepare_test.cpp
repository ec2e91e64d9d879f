// From files to a store: order, threads, mixtures, faults, counts.
#include <boost/test/unit_test.hpp>

#include <lodestone/data/prepare.hpp>

#include "../support/support.hpp"
#include "../text/toy_tokenizer.hpp"

using namespace lodestone;
using lodestone_test::read_file;
using lodestone_test::temporary_folder;
using lodestone_test::toy_tokenizer;
using lodestone_test::write_file;

namespace {

const toy_tokenizer& toy() {
  static const toy_tokenizer tokenizer({"<s>", "</s>"}, {0});
  return tokenizer;
}

const chat_encoder<toy_tokenizer>& encoder() {
  static const chat_encoder<toy_tokenizer> result(toy(), families::longalign_llama());
  return result;
}

std::string chat_line(int i) {
  return R"({"messages": [{"role": "user", "content": "q)" + std::to_string(i) +
         R"("}, {"role": "assistant", "content": "A)" + std::string(static_cast<std::size_t>(i % 50), 'x') + "\"}]}\n";
}

std::string chat_lines(int count) {
  std::string text;
  for (int i = 0; i < count; ++i) text += chat_line(i);
  return text;
}

std::string spell(const in_memory_store& store, std::int64_t i) { return toy().spell(store[i].tokens); }

std::string fault(const std::vector<data_source>& sources, const prepare_options& options = {}, int threads = 3) {
  thread_pool pool(threads);
  in_memory_store store;
  try {
    prepare(sources, encoder(), options, store, pool);
  } catch (const error& failure) {
    return failure.what();
  }
  return "(no error)";
}

}  // namespace

BOOST_AUTO_TEST_SUITE(data_prepare)

BOOST_AUTO_TEST_CASE(input_order_and_equal_bytes_on_any_number_of_threads) {
  const temporary_folder folder;
  std::filesystem::create_directory(folder / "in");
  write_file(folder / "in/b.jsonl", chat_lines(9000));  // more than one batch
  write_file(folder / "in/a.json", "[" + chat_line(7) + "]");
  write_file(folder / "in/c.txt", "\xEF\xBB\xBFOnce upon");
  write_file(folder / "in/ignored.md", "not data");
  std::string first;
  for (const int threads : {1, 2, 3, 5}) {
    thread_pool pool(threads);
    const std::vector<data_source> sources{{folder / "in"}};
    const data_summary summary = prepare_store(folder / "out", sources, encoder(), {}, pool, true);
    BOOST_TEST(summary.records == 9002);
    BOOST_TEST(summary.examples == 9002);
    BOOST_TEST(summary.documents == 1);
    const std::string bytes = read_file(folder / "out");
    if (first.empty()) first = bytes;
    BOOST_CHECK(bytes == first);
  }
  const token_store store(folder / "out");
  store.verify(toy().vocabulary_size());
  store.require_tokenizer(tokenizer_fingerprint(toy()));
  BOOST_REQUIRE(store.size() == 9002);
  BOOST_TEST(toy().spell(store[0].tokens) == "<s>[INST]q7[/INST]Axxxxxxx</s>");
  BOOST_TEST(toy().spell(store[1].tokens) == "<s>[INST]q0[/INST]A</s>");
  BOOST_TEST(toy().spell(store[9000].tokens).starts_with("<s>[INST]q8999[/INST]"));
  BOOST_TEST(toy().spell(store[9001].tokens) == "<s>Once upon");
  BOOST_CHECK((store.origin(9000) == example_origin{1, 9000}));
  BOOST_TEST(store.metadata().at("sources").find("b.jsonl") != std::string::npos);
  BOOST_TEST(store.metadata().at("template").find("longalign-llama") != std::string::npos);
  BOOST_TEST(store.metadata().at("options").find("\"targets\":\"all-answers\"") != std::string::npos);
  BOOST_TEST(store.metadata().at("summary").find("examples: 9002") != std::string::npos);
}

BOOST_AUTO_TEST_CASE(the_first_fault_of_the_input_is_reported) {
  const temporary_folder folder;
  const std::string path = (folder / "x.jsonl").string();
  std::string lines = chat_lines(400);
  lines += "{\"messages\": [{\"role\": \"tool\", \"content\": \"x\"}]}\n" + chat_lines(20) + "broken\n\xFF\n";
  write_file(folder / "x.jsonl", lines);
  for (const int threads : {1, 2, 3}) {
    const std::string message = fault({{folder / "x.jsonl"}}, {}, threads);
    BOOST_TEST(message.rfind(path + ":401: message 1: unknown role 'tool'", 0) == 0U);
  }
  prepare_options skip;
  skip.example.faults = fault_policy::skip;
  thread_pool pool(2);
  in_memory_store store;
  const data_summary summary = prepare(std::vector<data_source>{{folder / "x.jsonl"}}, encoder(), skip, store, pool);
  BOOST_TEST(summary.records == 423);
  BOOST_TEST(summary.skipped == 3);
  BOOST_TEST(summary.examples == 420);
  BOOST_TEST(summary.records == summary.examples + summary.skipped);
  BOOST_REQUIRE(summary.faults.size() == 3U);
  BOOST_TEST(summary.faults[1].rfind(path + ":422: invalid JSON", 0) == 0U);
  BOOST_TEST(summary.faults[2].rfind(path + ":423: broken UTF-8", 0) == 0U);
  BOOST_TEST(summary.warnings().size() == 1U);
}

BOOST_AUTO_TEST_CASE(no_store_is_left_by_a_failure) {
  const temporary_folder folder;
  write_file(folder / "x.jsonl", chat_lines(3) + "broken\n");
  write_file(folder / "long.jsonl", chat_lines(3));
  thread_pool pool(2);
  const std::vector<data_source> broken{{folder / "x.jsonl"}};
  BOOST_CHECK_THROW(prepare_store(folder / "out", broken, encoder(), {}, pool), data_error);
  prepare_options options;
  options.example.length = {5, over_long::drop, true};
  const std::vector<data_source> dropped{{folder / "long.jsonl"}};
  BOOST_CHECK_THROW(prepare_store(folder / "out", dropped, encoder(), options, pool), data_error);
  BOOST_TEST(!std::filesystem::exists(folder / "out"));
  BOOST_TEST(std::distance(std::filesystem::directory_iterator(folder.path()), {}) == 2);
}

BOOST_AUTO_TEST_CASE(mixtures) {
  const temporary_folder folder;
  write_file(folder / "long.jsonl", chat_lines(100));
  std::string documents;
  for (int i = 0; i < 40; ++i) documents += "{\"text\": \"D" + std::to_string(i) + "\"}\n";
  write_file(folder / "short.jsonl", documents);
  thread_pool pool(2);
  const auto mix = [&](data_source a, data_source b, std::uint64_t seed, std::optional<std::int64_t> total = {}) {
    prepare_options options;
    options.seed = seed;
    options.mixture_total = total;
    in_memory_store store;
    const std::vector<data_source> sources{std::move(a), std::move(b)};
    const data_summary summary = prepare(sources, encoder(), options, store, pool);
    BOOST_TEST(summary.examples == store.size());
    std::vector<std::string> texts;
    for (std::int64_t i = 0; i < store.size(); ++i) texts.push_back(spell(store, i));
    return std::pair{summary, texts};
  };
  const data_source chats{folder / "long.jsonl"};
  data_source five = chats;
  five.count = 5;
  const auto counted = mix(five, {folder / "short.jsonl"}, 1);
  BOOST_TEST(counted.first.conversations == 5);
  BOOST_TEST(counted.first.documents == 40);
  BOOST_CHECK(counted.second == mix(five, {folder / "short.jsonl"}, 1).second);
  BOOST_CHECK(counted.second != mix(five, {folder / "short.jsonl"}, 2).second);
  data_source twice = chats;
  twice.count = 200;
  const auto repeated = mix(twice, {folder / "short.jsonl"}, 1);
  BOOST_TEST(repeated.first.conversations == 200);
  BOOST_TEST(repeated.second[0] == repeated.second[1]);
  data_source quarter{folder / "short.jsonl"};
  quarter.weight = 1.0;
  data_source rest = chats;
  rest.weight = 2.0;
  const auto weighted = mix(rest, quarter, 1);
  BOOST_TEST(weighted.first.conversations == 80);
  BOOST_TEST(weighted.first.documents == 40);
  BOOST_TEST(mix(rest, quarter, 1, 30).first.conversations == 20);
}

BOOST_AUTO_TEST_CASE(records_that_are_not_chosen_are_not_read) {
  const temporary_folder folder;
  write_file(folder / "good.jsonl", chat_lines(2));
  write_file(folder / "bad.jsonl", "broken\n");
  data_source unused{folder / "bad.jsonl"};
  unused.count = 0;
  BOOST_TEST(fault({{folder / "good.jsonl"}, unused}) == "(no error)");
}

BOOST_AUTO_TEST_CASE(repeated_examples_are_counted_each_time) {
  const temporary_folder folder;
  write_file(folder / "x.jsonl", chat_lines(2));
  data_source source{folder / "x.jsonl"};
  source.count = 6;
  thread_pool pool(1);
  in_memory_store store;
  const data_summary summary = prepare(std::vector<data_source>{source}, encoder(), {}, store, pool);
  BOOST_TEST(summary.records == 6);
  BOOST_TEST(summary.tokens == store.total_tokens());
}

BOOST_AUTO_TEST_CASE(preferences_become_groups_in_the_order_of_the_input) {
  const temporary_folder folder;
  std::string lines;
  for (int i = 0; i < 5000; ++i) {  // more than one batch; conversations and documents among them
    const std::string n = std::to_string(i);
    if (i % 7 == 3) lines += chat_line(i);
    if (i % 11 == 5) lines += "{\"text\": \"D" + n + "\"}\n";
    std::string rejected = "\"r" + n + "\"";
    for (int j = 1; j <= i % 3; ++j) rejected += ", \"r" + n + std::string(static_cast<std::size_t>(j), '!') + "\"";
    lines += R"({"messages": [{"role": "user", "content": "q)" + n + R"("}], "chosen": "c)" + n + R"(", "weight": )" +
             n + R"(, "rejected": [)" + rejected + "]}\n";
  }
  write_file(folder / "in.jsonl", lines);
  std::string first;
  for (const int threads : {1, 3}) {
    thread_pool pool(threads);
    const std::vector<data_source> sources{{folder / "in.jsonl"}};
    const data_summary summary = prepare_store(folder / "out", sources, encoder(), {}, pool, true);
    BOOST_TEST(summary.groups == 5000);
    BOOST_TEST(summary.answers == 5000 * 2 + 4999);  // 1, 2, 3, 1, 2, ... rejected answers: 9,999
    BOOST_TEST(summary.seams == 0);
    BOOST_TEST(summary.records - summary.groups + summary.answers == summary.examples);
    const std::string bytes = read_file(folder / "out");
    if (first.empty()) first = bytes;
    BOOST_CHECK(bytes == first);
  }
  const token_store store(folder / "out");
  store.verify(toy().vocabulary_size());
  const std::vector<std::int64_t> units = unit_begins(store);
  std::int64_t group = 0;
  for (std::size_t u = 0; u + 1 < units.size(); ++u) {
    const example_view chosen = store[units[u]];
    if (chosen.group == no_group) continue;
    const std::string n = std::to_string(group);
    BOOST_REQUIRE(chosen.group == group);
    BOOST_REQUIRE(units[u + 1] - units[u] == 2 + group % 3);
    BOOST_REQUIRE(chosen.weight == static_cast<double>(group));
    BOOST_REQUIRE(toy().spell(chosen.tokens) == "<s>[INST]q" + n + "[/INST]c" + n + "</s>");
    BOOST_REQUIRE(store.origin(units[u]).line == store.origin(units[u + 1] - 1).line);
    ++group;
  }
  BOOST_TEST(group == 5000);
  BOOST_TEST(store.metadata().at("options").find("\"score_header\":true") != std::string::npos);
}

BOOST_AUTO_TEST_CASE(repeated_preferences_are_groups_of_their_own) {
  const temporary_folder folder;
  write_file(folder / "x.jsonl", R"({"messages": [{"role": "user", "content": "q"}], "chosen": "a", "rejected": "b"})");
  data_source source{folder / "x.jsonl", data_format::preference};
  source.count = 3;
  thread_pool pool(1);
  in_memory_store store;
  const data_summary summary = prepare(std::vector<data_source>{source}, encoder(), {}, store, pool);
  BOOST_TEST(summary.groups == 3);
  BOOST_REQUIRE(store.size() == 6);
  for (std::int64_t i = 0; i < 6; ++i) BOOST_TEST(store[i].group == i / 2);
  BOOST_TEST(unit_begins(store).size() == 4U);
}

BOOST_AUTO_TEST_CASE(faulty_preferences_stop_with_their_line_or_are_counted) {
  const temporary_folder folder;
  const std::string path = (folder / "x.jsonl").string();
  const std::string good = R"({"messages": [{"role": "user", "content": "q"}], "chosen": "a", "rejected": "b"})";
  const std::string equal = R"({"messages": [{"role": "user", "content": "q"}], "chosen": "a", "rejected": "a"})";
  const std::string empty = R"({"messages": [{"role": "user", "content": "q"}], "chosen": "a", "rejected": ["b", ""]})";
  write_file(folder / "x.jsonl", good + "\n\n" + good + "\n" + equal + "\n" + empty + "\n" + good + "\n");
  BOOST_TEST(fault({{folder / "x.jsonl"}}).rfind(path + ":4: the rejected answer equals the chosen answer", 0) == 0U);
  prepare_options skip;
  skip.example.faults = fault_policy::skip;
  thread_pool pool(2);
  in_memory_store store;
  const data_summary summary = prepare(std::vector<data_source>{{folder / "x.jsonl"}}, encoder(), skip, store, pool);
  BOOST_TEST(summary.skipped == 2);
  BOOST_TEST(summary.groups == 3);
  BOOST_TEST(store[5].group == 2);
  BOOST_REQUIRE(summary.faults.size() == 2U);
  BOOST_TEST(summary.faults[1].rfind(path + ":5: rejected answer 2 is empty", 0) == 0U);
  prepare_options tight;
  tight.example.length = {10, over_long::error, true};
  write_file(folder / "y.jsonl", good + "\n" + good + "\n");
  BOOST_TEST(fault({{folder / "y.jsonl"}}, tight).rfind((folder / "y.jsonl").string() + ":1: prompt and longest", 0) ==
             0U);
  prepare_options wrong;
  wrong.example.preference.context_form = "{question}";
  BOOST_TEST(fault({{folder / "y.jsonl"}}, wrong).rfind("context_form: must hold {context} once", 0) == 0U);
}

BOOST_AUTO_TEST_CASE(sources_that_cannot_be_read) {
  const temporary_folder folder;
  BOOST_TEST(fault({}).rfind("data: no data is named", 0) == 0U);
  BOOST_TEST(fault({{folder / "none.jsonl"}}).find("no such file or folder") != std::string::npos);
  BOOST_TEST(fault({{folder.path()}}).find("holds no .jsonl, .json or .txt") != std::string::npos);
  write_file(folder / "x.parquet", "PAR1");
  BOOST_TEST(fault({{folder.path()}}).find("only Parquet") != std::string::npos);
  BOOST_TEST(fault({{folder / "x.parquet"}}).find("read_parquet") != std::string::npos);
  write_file(folder / "empty.txt", "");
  BOOST_TEST(fault({{folder / "empty.txt"}}).find("the document is empty") != std::string::npos);
  write_file(folder / "latin.txt", "one\ncaf\xE9\n");
  BOOST_TEST(fault({{folder / "latin.txt"}}).rfind((folder / "latin.txt").string() + ":2: broken UTF-8", 0) == 0U);
}

BOOST_AUTO_TEST_CASE(progress_is_reported) {
  const temporary_folder folder;
  write_file(folder / "x.jsonl", chat_lines(9000));
  thread_pool pool(2);
  in_memory_store store;
  std::vector<std::int64_t> seen;
  prepare(std::vector<data_source>{{folder / "x.jsonl"}}, encoder(), {}, store, pool,
          [&](const prepare_progress& at) { seen.push_back(at.examples); });
  BOOST_TEST(seen.size() >= 3U);
  BOOST_TEST(std::is_sorted(seen.begin(), seen.end()));
  BOOST_TEST(seen.back() == 9000);
}

BOOST_AUTO_TEST_SUITE_END()
