// Published benchmarks: prompts, lengths and scores equal to those of their own code; files that are something else.
#include <boost/test/unit_test.hpp>

#include <cmath>
#include <map>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include <lodestone/eval/answer_metrics.hpp>
#include <lodestone/eval/chinese_words.hpp>
#include <lodestone/eval/infinite_bench.hpp>
#include <lodestone/eval/longbench.hpp>
#include <lodestone/eval/lv_eval.hpp>
#include <lodestone/eval/question_files.hpp>

#include "../support/support.hpp"

using namespace lodestone;
using namespace lodestone::eval;
using lodestone_test::temporary_folder;
using lodestone_test::write_file;
using nlohmann::json;

namespace {

const json& published() {
  static const json cases = json::parse(lodestone_test::read_file(lodestone_test::data("eval/benchmarks.json")));
  return cases;
}

const benchmark_options& with_jieba() {
  static const benchmark_options options{.chinese = chinese_words::load(lodestone_test::data("eval/jieba")),
                                         .prompt = {}};
  return options;
}

std::string lines_of(const json& records) {
  std::string text;
  for (const json& each : records) text += each.dump() + "\n";
  return text;
}

/// Records of a task's answers, as an evaluation makes them.
std::vector<record> run(const marked_questions& task, const json& answers) {
  std::vector<record> records;
  BOOST_TEST_REQUIRE(task.size() == answers.size());
  for (std::size_t i = 0; i < task.size(); ++i) {
    const std::string answer = answers.at(i);
    records.push_back({task.ask(i).id, task.ask(i).labels, task.mark(i, answer), answer, ""});
  }
  return records;
}

std::string label_of(const std::vector<label>& labels, const std::string& name) {
  for (const label& each : labels)
    if (each.name == name) return each.value;
  return "none";
}

/// The mean of first scores in percent, of all records or of those with a label.
double mean_of(const std::vector<record>& records, const std::string& name = {}, const std::string& value = {}) {
  double total = 0.0;
  double count = 0.0;
  for (const record& each : records) {
    if (!name.empty() && label_of(each.labels, name) != value) continue;
    total += each.scores.front().value;
    ++count;
  }
  return 100 * total / count;
}

/// The message of the error that `call` throws, without the folder's path; empty when it throws none.
template <class Call>
std::string message_of(const temporary_folder& folder, const Call& call) {
  try {
    call();
  } catch (const error& failure) {
    std::string text = failure.what();
    const std::string path = folder.path().string() + "/";
    if (const std::size_t at = text.find(path); at != std::string::npos) text.erase(at, path.size());
    return text;
  }
  return {};
}

}  // namespace

BOOST_AUTO_TEST_CASE(longbench_asks_and_marks_as_its_own_code) {
  const temporary_folder folder;
  std::vector<record> all;
  std::map<std::string, double> means;
  for (const auto& [name, expected] : published().at("longbench").items()) {
    write_file(folder / (name + ".jsonl"), lines_of(expected.at("records")));
    const marked_questions task = longbench(folder / (name + ".jsonl"), with_jieba());
    BOOST_TEST(task.name() == "longbench/" + name);
    const question first = task.ask(0);
    BOOST_TEST(first.prompt == expected.at("prompt").get<std::string>());
    BOOST_TEST(first.max_new_tokens == expected.at("max_new_tokens").get<std::int64_t>());
    BOOST_TEST(first.id == name + "/" + name + "0");
    BOOST_TEST(task.id(0) == first.id);
    const bool is_plain = name == "trec" || name == "triviaqa" || name == "samsum" || name == "lsht" || name == "lcc" ||
                          name == "repobench-p";
    BOOST_TEST(first.is_chat == !is_plain);
    BOOST_TEST(first.stop.size() == (name == "samsum" ? 1U : 0U));
    const std::vector<record> records = run(task, expected.at("answers"));
    BOOST_TEST(std::abs(mean_of(records) - expected.at("score").get<double>()) < 0.00501, name);
    for (const auto& [length, mean] : expected.at("score_e").items())
      if (!mean.is_null())
        BOOST_TEST(std::abs(mean_of(records, "length", length) - mean.get<double>()) < 0.00501, name << ' ' << length);
    means[name] = mean_of(records) / 100;
    all.insert(all.end(), records.begin(), records.end());
  }
  BOOST_TEST(means.size() == 21U);
  const longbench_averages averages = average_longbench(all);
  BOOST_TEST(averages.datasets.size() == 19U);
  BOOST_TEST(averages.categories.size() == 5U);
  const double synthetic = (means["passage_count"] + means["passage_retrieval_en"] + means["passage_retrieval_zh"]) / 3;
  BOOST_TEST(averages.categories.back().first == "Synthetic");
  BOOST_TEST(averages.categories.back().second == synthetic, boost::test_tools::tolerance(1e-12));
  double mean = 0.0;
  for (const auto& category : averages.categories) mean += category.second / 5;
  BOOST_TEST(averages.mean == mean, boost::test_tools::tolerance(1e-12));
  BOOST_TEST(average_longbench(all, true).categories.back().second == (means["lcc"] + means["repobench-p"]) / 2,
             boost::test_tools::tolerance(1e-12));
  all.front().scores.clear();  // an answer that failed counts as 0
  BOOST_TEST(average_longbench(all).mean <= mean);
  all.front().labels.clear();
  BOOST_CHECK_THROW((void)average_longbench(all), data_error);
}

BOOST_AUTO_TEST_CASE(longbench_without_a_dictionary_says_so_in_the_metrics_name) {
  const temporary_folder folder;
  for (const auto& [name, metric] :
       {std::pair<std::string, std::string>{"multifieldqa_zh", "f1_characters"}, {"vcsum", "rouge_l_characters"}}) {
    const json& expected = published().at("longbench").at(name);
    write_file(folder / (name + "_e.jsonl"), expected.at("records").dump());  // an array is read too
    const marked_questions task = longbench(folder / (name + "_e.jsonl"));
    BOOST_TEST(task.mark(0, "").front().metric == metric);
    BOOST_TEST(task.mark(0, expected.at("records")[0].at("answers")[0].get<std::string>()).front().value == 1.0,
               boost::test_tools::tolerance(1e-7));
  }
}

BOOST_AUTO_TEST_CASE(lv_eval_asks_and_marks_as_its_own_code) {
  const temporary_folder folder;
  for (const auto& [name, expected] : published().at("lv_eval").items()) {
    const std::string file = name + "_128k.jsonl";
    write_file(folder / file, lines_of(expected.at("records")));
    const marked_questions task = lv_eval(folder / file, with_jieba());
    BOOST_TEST(task.ask(0).prompt == expected.at("prompt").get<std::string>());
    BOOST_TEST(task.ask(0).max_new_tokens == expected.at("max_new_tokens").get<std::int64_t>());
    BOOST_TEST(label_of(task.ask(0).labels, "length") == "128k");
    BOOST_TEST(std::abs(mean_of(run(task, expected.at("answers"))) - expected.at("score").get<double>()) < 0.00501,
               name);
  }
  const marked_questions other = lv_eval(folder / "factrecall_en_128k.jsonl");
  BOOST_TEST(other.mark(0, "not used").front().value == 0.0);  // the second reference
  write_file(folder / "hotpot.jsonl", "{}");
  BOOST_TEST(message_of(folder, [&] {
               (void)lv_eval(folder / "hotpot.jsonl");
             }).starts_with("hotpot.jsonl: the name is not a data set of LV-Eval and its length; keep the published"));
}

BOOST_AUTO_TEST_CASE(answers_without_enough_keywords_count_nothing) {
  const auto value = [](answer_metric metric, const char* answer, const char* reference, const char* keywords) {
    return mark_answer(metric, {.references = {reference}, .classes = {}, .keywords = keywords}, answer, {})
        .front()
        .value;
  };
  BOOST_TEST(value(answer_metric::keyword_f1, "one", "one", "one two three four five") == 1.0);
  BOOST_TEST(value(answer_metric::keyword_f1, "one", "one", "one two three four five six") == 0.0);
  BOOST_TEST(value(answer_metric::keyword_f1, "is", "is", "is") == 0.0);  // a word that does not count
  BOOST_TEST(value(answer_metric::keyword_f1, "is", "is", "") == 1.0);
  BOOST_TEST(value(answer_metric::chinese_keyword_f1, "甲乙", "甲乙", "甲乙丙丁戊") == 1.0);
  BOOST_TEST(value(answer_metric::chinese_keyword_f1, "甲", "甲", "甲乙丙") == 0.0);
  BOOST_TEST(value(answer_metric::chinese_keyword_f1, "甲", "甲乙丙", "") == 0.0);  // the reference counts for keywords
}

BOOST_AUTO_TEST_CASE(infinite_bench_asks_and_marks_as_its_own_code) {
  const temporary_folder folder;
  for (const auto& [name, expected] : published().at("infinite_bench").items()) {
    write_file(folder / (name + ".jsonl"), lines_of(expected.at("records")));
    const marked_questions task = infinite_bench(folder / (name + ".jsonl"));
    BOOST_TEST(task.ask(0).prompt == expected.at("chat").get<std::string>());
    BOOST_TEST(task.ask(0).max_new_tokens == expected.at("max_new_tokens").get<std::int64_t>());
    BOOST_TEST(task.ask(0).is_chat);
    BOOST_TEST(mean_of(run(task, expected.at("answers"))) / 100 == expected.at("score").get<double>(),
               boost::test_tools::tolerance(1e-9));
    const question text = infinite_bench(folder / (name + ".jsonl"), infinite_bench_form::text).ask(0);
    BOOST_TEST(text.prompt == expected.at("text").get<std::string>());
    BOOST_TEST(!text.is_chat);
  }
  write_file(folder / "math_calc.jsonl", "{}");
  BOOST_TEST(
      message_of(folder, [&] {
        (void)infinite_bench(folder / "math_calc.jsonl");
      }).starts_with("math_calc.jsonl: the name is not a data set of InfiniteBench that is known here; the names"));
}

BOOST_AUTO_TEST_CASE(keys_and_values_are_asked_as_published) {
  const temporary_folder folder;
  for (const json& expected : published().at("key_value")) {
    write_file(folder / "kv.jsonl", expected.at("record").dump() + "\n");
    const marked_questions task = key_value_retrieval(folder / "kv.jsonl");
    BOOST_TEST(task.ask(0).prompt == expected.at("prompt").get<std::string>());
    const std::string value = expected.at("record").at("value");
    BOOST_TEST(task.mark(0, "It is " + value + ".").front().value == 1.0);
    BOOST_TEST(task.mark(0, "it is v" + value.substr(1) + ".").front().value == 1.0);
    BOOST_TEST(task.mark(0, value.substr(1)).front().value == 0.0);
    BOOST_TEST(task.mark(0, "").front().value == 0.0);
  }
  const marked_questions moved = key_value_retrieval(folder / "kv.jsonl", 0);
  BOOST_TEST(moved.ask(0).prompt.find("{\"key-2\": \"Value-2\",\n \"key-0\"") != std::string::npos);
  BOOST_TEST(label_of(moved.ask(0).labels, "depth") == "0");
  BOOST_TEST(label_of(key_value_retrieval(folder / "kv.jsonl").ask(0).labels, "depth") == "50");
  BOOST_TEST(label_of(key_value_retrieval(folder / "kv.jsonl", 4).ask(0).labels, "depth") == "100");
  BOOST_TEST(message_of(folder, [&] { (void)key_value_retrieval(folder / "kv.jsonl", 5); }) ==
             "at: place 5 is not one of 5 keys; use 0 to 4");
  write_file(folder / "kv.jsonl", R"({"ordered_kv_records": [["a", "b"], ["c", "d"]], "key": "x", "value": "b"})");
  BOOST_TEST(message_of(folder, [&] {
               (void)key_value_retrieval(folder / "kv.jsonl");
             }).starts_with("kv.jsonl:1: the key is not there exactly once"));
}

BOOST_AUTO_TEST_CASE(question_files_of_their_authors_are_read) {
  const temporary_folder folder;
  write_file(folder / "m.jsonl",
             R"({"id": "2hop__1", "paragraphs": [{"idx": 0, "title": "Green", "paragraph_text": "Green is a film."},)"
             R"({"idx": 1, "title": "Steve", "paragraph_text": "Steve acts."}], "question": "Who acts?", )"
             R"("question_decomposition": [{}, {}], "answer": "Steve Hillage", "answer_aliases": ["Hillage"], )"
             R"("answerable": true})");
  const marked_questions hops = musique(folder / "m.jsonl");
  BOOST_TEST(hops.ask(0).prompt.find(
                 "passages.\nPassage 1:\nGreen\nGreen is a film.\nPassage 2:\nSteve\nSteve acts.\n\nAnswer the") !=
             std::string::npos);
  BOOST_TEST(hops.ask(0).id == "2hop__1");
  BOOST_TEST(label_of(hops.ask(0).labels, "hops") == "2");
  const std::vector<score> scores = hops.mark(0, "The Hillage!");
  BOOST_TEST(scores[0].metric == "f1");
  BOOST_TEST(scores[0].value == 1.0);
  BOOST_TEST(scores[1].metric == "substring_match");
  BOOST_TEST(scores[2].value == 1.0);
  BOOST_TEST(hops.mark(0, "a hillage of Steve")[2].value == 0.0);
  BOOST_TEST(hops.mark(0, "").size() == 3U);

  write_file(folder / "dev.json",
             "[\n"
             R"({"_id": "8813", "type": "comparison", "question": "Who is older?", )"
             R"("context": [["A", ["A was born.", "In 1950."]], ["B", ["B was", "", "too."]]], )"
             R"("supporting_facts": [["A", 0]], "evidences": [], "answer": "A"},)"
             "\n"
             R"({"_id": "5a7f", "type": "bridge", "level": "hard", "question": "Who sang?", "answer": "C", )"
             R"("context": [["C", ["C sang \"Hey", "You\".", " And left."]], ["D", ["D! ", "Co."]]], )"
             R"("supporting_facts": [["C", 0]]})"
             "\n]");
  const marked_questions wiki = two_wiki(folder / "dev.json");
  BOOST_TEST(wiki.ask(0).prompt.find("Passage 1:\nA\nA was born. In 1950.\nPassage 2:\nB\nB was too.\n\n") !=
             std::string::npos);
  BOOST_TEST(label_of(wiki.ask(0).labels, "type") == "comparison");
  // HotpotQA's sentences bring their spaces: where there is none, the text has none.
  BOOST_TEST(wiki.ask(1).prompt.find("Passage 1:\nC\nC sang \"HeyYou\". And left.\nPassage 2:\nD\nD! Co.\n\n") !=
             std::string::npos);

  write_file(folder / "q.jsonl", R"({"topic_list": [], "general_query_list": [{"query": "Sum it up.", "answer": "They )"
                                 R"(agreed on tests."}], "specific_query_list": [{"query": "Who spoke?", "answer": )"
                                 R"("Ann.", "relevant_text_span": [["0", "1"]]}], "meeting_transcripts": [{"speaker": )"
                                 R"("Ann", "content": "We test."}, {"speaker": "Bob", "content": "Yes {all}."}]})");
  const marked_questions meeting = qmsum(folder / "q.jsonl");
  BOOST_TEST(meeting.size() == 2U);
  BOOST_TEST(meeting.ask(1).prompt.find("Transcript:\nAnn: We test.\nBob: Yes {all}.\n\nNow, answer") !=
             std::string::npos);
  BOOST_TEST(meeting.mark(0, "they agree on testing")[0].value == 1.0);
  BOOST_TEST(label_of(meeting.ask(1).labels, "kind") == "specific");

  write_file(folder / "s1.content", "A story.");
  const std::string head = "document_id,set,question,answer1,answer2,question_tokenized\n";
  write_file(folder / "qaps.csv",
             head + "s0,train,no?,a,b,c\n\ns1,test,\"Who, \"\"he\"\",\nis it?\",A king.,the king,x\r\n\r\n" +
                 "s1,test,Why?,x,y,z\n\n");
  const marked_questions story = narrativeqa(folder / "qaps.csv", folder.path());
  BOOST_TEST(story.size() == 2U);
  BOOST_TEST(story.ask(0).prompt.find("Story: A story.\n") != std::string::npos);
  BOOST_TEST(story.ask(0).prompt.find("Question: Who, \"he\",\nis it?\n\nAnswer:") != std::string::npos);
  BOOST_TEST(story.ask(1).id == "s1/2");
  BOOST_TEST(story.mark(0, "King")[2].value == 1.0);
  BOOST_TEST(story.mark(0, "the king")[3].value == 1.0, boost::test_tools::tolerance(1e-7));
  write_file(folder / "s1.content", "The caf\xE9.");  // a page in Latin-1
  BOOST_TEST(narrativeqa(folder / "qaps.csv", folder.path()).ask(1).prompt.find("Story: The caf\u00E9.\n") !=
             std::string::npos);
  write_file(folder / "s1.content", "The caf\u00E9.");
  BOOST_TEST(narrativeqa(folder / "qaps.csv", folder.path()).ask(1).prompt.find("Story: The caf\u00E9.\n") !=
             std::string::npos);
}

BOOST_AUTO_TEST_CASE(files_of_another_kind_are_named_with_line_and_field) {
  const temporary_folder folder;
  const json good = published().at("longbench").at("trec").at("records")[0];
  const auto refused = [&](json changed, const std::string& message) {
    write_file(folder / "x.jsonl", good.dump() + "\n\n" + changed.dump() + "\n");
    const std::string got = message_of(folder, [&] { (void)longbench(folder / "x.jsonl"); });
    BOOST_TEST(got.starts_with(message), got);
  };
  const auto without = [&](const char* key) {
    json changed = good;
    changed.erase(key);
    return changed;
  };
  const auto with = [&](const char* key, const json& value) {
    json changed = good;
    changed[key] = value;
    return changed;
  };
  for (const char* key : {"context", "input", "answers", "length", "dataset", "all_classes"})
    refused(without(key),
            std::string("x.jsonl:3: the field ") + key + " is missing; use the benchmark's file as it was published");
  refused(with("answers", "City"), "x.jsonl:3: the field answers is not a list");
  refused(with("answers", json::array()), "x.jsonl:3: the field answers is empty");
  refused(with("answers", {1}), "x.jsonl:3: the field each of answers is not a string");
  refused(with("length", "12"), "x.jsonl:3: the field length is not an integer");
  refused(with("dataset", "longbook"), "x.jsonl:3: LongBench has no data set 'longbook'");
  refused(with("dataset", "passage_retrieval_en"), "x.jsonl:3: an answer does not name a paragraph");
  refused(json::array({1}), "x.jsonl:3: the record is not a JSON object");
  write_file(folder / "x.jsonl", good.dump() + "\n" + good.dump().substr(0, 40) + "\n");
  BOOST_TEST(message_of(folder, [&] { (void)longbench(folder / "x.jsonl"); }).starts_with("x.jsonl:2: invalid JSON"));
  write_file(folder / "x.jsonl", good.dump() + "\n{\"input\": \"caf\xE9\"}\n");
  BOOST_TEST(message_of(folder, [&] { (void)longbench(folder / "x.jsonl"); }).starts_with("x.jsonl:2: "));
  write_file(folder / "x.jsonl", "");
  BOOST_TEST(!message_of(folder, [&] { (void)longbench(folder / "x.jsonl"); }).empty());
  write_file(folder / "x.jsonl", good.dump() + "\n" + good.dump() + "\n");  // the same id twice
  BOOST_TEST(longbench(folder / "x.jsonl").ask(1).id == "trec/trec0 line 2");

  write_file(folder / "m.jsonl", R"({"id": "a", "answerable": false})");
  BOOST_TEST(message_of(folder, [&] {
               (void)musique(folder / "m.jsonl");
             }).starts_with("m.jsonl:1: this question has no answer in its paragraphs; use the files musique_ans"));
  write_file(folder / "m.jsonl", R"({"id": "a", "paragraphs": [{"title": "T"}], "question": "q", "answer": "a"})");
  BOOST_TEST(message_of(folder, [&] {
               (void)musique(folder / "m.jsonl");
             }).starts_with("m.jsonl:1: the field paragraphs[0].paragraph_text is missing"));
  write_file(folder / "w.json", R"([{"_id": "a", "context": [["T", "no list"]], "question": "q", "answer": "a"}])");
  BOOST_TEST(message_of(folder, [&] {
               (void)two_wiki(folder / "w.json");
             }).starts_with("w.json:1: each of context is not a title and a list of sentences"));
  write_file(folder / "q.csv", "document_id,set,question,answer1\n");
  BOOST_TEST(message_of(folder, [&] {
               (void)narrativeqa(folder / "q.csv", folder.path());
             }).starts_with("q.csv:1: the column answer2 is missing"));
  const std::string head = "document_id,set,question,answer1,answer2\n";
  write_file(folder / "q.csv", head + "s,test,\"q\n\"x,a,b\n");
  BOOST_TEST(message_of(folder, [&] {
               (void)narrativeqa(folder / "q.csv", folder.path());
             }).starts_with("q.csv:2: text stands behind a closed quote"));
  write_file(folder / "q.csv", head + "s,test,q,a,b\ns,test,q,a\n");
  write_file(folder / "s.content", "text");
  BOOST_TEST(message_of(folder, [&] {
               (void)narrativeqa(folder / "q.csv", folder.path());
             }).starts_with("q.csv:3: the row has 4 fields, not 5"));
  write_file(folder / "q.csv", head + "s,test,q,a,b\n\ns,test,caf\xE9,a,b\n");
  BOOST_TEST(message_of(folder, [&] {
               (void)narrativeqa(folder / "q.csv", folder.path());
             }).starts_with("q.csv:4: the text is not UTF-8; convert it"));
  write_file(folder / "q.csv", head + "s,test,q,a,b\n\nt,test,q,a\n");
  BOOST_TEST(message_of(folder, [&] {
               (void)narrativeqa(folder / "q.csv", folder.path());
             }).starts_with("q.csv:4: the row has 4 fields, not 5"));
}

BOOST_AUTO_TEST_CASE(prompts_are_filled_like_the_published_ones) {
  BOOST_TEST(fill_prompt("{a} {{b}} {c}{a}", {{"a", "{c}"}, {"c", ""}}) == "{c} {b} {c}");
  const auto message = [](const char* form) {
    try {
      (void)fill_prompt(form, {{"context", "x"}, {"input", "y"}});
    } catch (const config_error& failure) {
      return std::string(failure.what());
    }
    return std::string();
  };
  BOOST_TEST(message("{question}") == "prompt: {question} is not a field; the fields are {context}, {input}");
  BOOST_TEST(message("{context") == "prompt: a '{' stands alone; write {{ and }} for braces");
  BOOST_TEST(message("context}") == "prompt: a '}' stands alone; write {{ and }} for braces");
  const temporary_folder folder;
  write_file(folder / "x.jsonl", published().at("longbench").at("qasper").at("records")[0].dump());
  BOOST_TEST(
      longbench(folder / "x.jsonl", {.chinese = {}, .prompt = "Q: {input}"}).ask(0).prompt.starts_with("Q: What"));
  const benchmark_options wrong{.chinese = {}, .prompt = "{passage}"};
  write_file(folder / "passkey.jsonl", lines_of(published().at("infinite_bench").at("passkey").at("records")));
  write_file(folder / "q.jsonl", R"({"general_query_list": [{"query": "Sum it up.", "answer": "They agreed."}], )"
                                 R"("specific_query_list": [], "meeting_transcripts": []})");
  write_file(folder / "kv.jsonl", published().at("key_value")[0].at("record").dump());
  const auto refused = [](const auto& read) {
    BOOST_CHECK_EXCEPTION((void)read(), config_error, [](const config_error& failure) {
      return std::string(failure.what()).starts_with("prompt: {passage} is not a field; the fields are {");
    });
  };
  refused([&] { return longbench(folder / "x.jsonl", wrong); });
  refused([&] { return infinite_bench(folder / "passkey.jsonl", infinite_bench_form::chat, wrong); });
  refused([&] { return qmsum(folder / "q.jsonl", wrong); });
  refused([&] { return key_value_retrieval(folder / "kv.jsonl", std::nullopt, wrong); });
}
