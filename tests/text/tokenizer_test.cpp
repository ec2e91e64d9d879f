#include <lodestone/text/tokenizer.hpp>

#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <iostream>
#include <map>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include <boost/test/unit_test.hpp>
#include <nlohmann/json.hpp>

#include "support/support.hpp"

namespace {

using lodestone::tokenizer;
using lodestone_test::data;
using lodestone_test::read_file;
using lodestone_test::source_dir;
using lodestone_test::temporary_folder;
using lodestone_test::write_file;
using ids = std::vector<std::int32_t>;

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream stream(text);
  for (std::string line; std::getline(stream, line);) lines.push_back(line);
  return lines;
}

std::filesystem::path folder_of(const std::string& name) {
  if (name == "gpt2") return data("tokenizer/gpt2");
  if (name == "stories260k") return data("models/stories260k");
  if (name == "tinystories") return source_dir() / "examples/data/models/tinystories-656k";
  if (name.rfind("sentencepiece/", 0) == 0) return data("tokenizer/" + name + ".model");
  return data("tokenizer/pipelines/" + name + ".json");
}

/// The cases of one vector file: strings split on a marker line, one line of ids for each.
void check_vectors(const std::filesystem::path& folder, const std::string& name) {
  const tokenizer one = tokenizer::load(folder);
  const std::string all = read_file(data("tokenizer/vectors/" + name + ".inp"));
  std::vector<std::string> expected = lines_of(read_file(data("tokenizer/vectors/" + name + ".out")));
  const std::string marker = "\n__ggml_vocab_test__\n";
  std::size_t passed = 0;
  std::size_t count = 0;
  for (std::size_t from = 0; from != std::string::npos; ++count) {
    const std::size_t end = all.find(marker, from);
    const std::string text = all.substr(from, end == std::string::npos ? end : end - from);
    from = end == std::string::npos ? end : end + marker.size();
    if (count == expected.size()) expected.emplace_back();  // the empty text after the last marker has no ids
    std::istringstream row(expected[count]);
    ids wanted;
    for (std::int32_t id = 0; row >> id;) wanted.push_back(id);
    const ids got = one.encode(text, false);
    BOOST_TEST(got == wanted, name << " case " << count << ": " << text);
    BOOST_TEST(one.decode(got) == text);
    passed += got == wanted ? 1 : 0;
  }
  BOOST_TEST(count == 47U);
  BOOST_TEST(passed == 47U);
  std::cout << "tokenizer vectors " << name << ": " << passed << " of " << count << '\n';
}

/// The folder of licensed tokenizers, or nothing, said aloud.
std::filesystem::path licensed(const std::string& name) {
  const char* root = std::getenv("LODESTONE_TEST_MODELS");
  if (root == nullptr) {
    std::cout << "SKIPPED tokenizer vectors of " << name << ": its licence keeps it out of this repository; set "
              << "LODESTONE_TEST_MODELS to a folder that holds tokenizers/" << name << "/tokenizer.json\n";
    return {};
  }
  return std::filesystem::path(root) / "tokenizers" / name;
}

const std::string nothing = "(nothing was thrown)";

template <class Error, class Call>
std::string message_of(Call&& call) {
  try {
    call();
  } catch (const Error& problem) {
    return problem.what();
  }
  return nothing;
}

bool contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

/// A text of many kinds of character.
const std::string mixed =
    "Hello  world\n\n  it's 12345 \xE4\xBD\xA0\xE5\xA5\xBD\xEF\xBC\x8C\xE4\xB8\x96\xE7\x95\x8C \xF0\x9F\x98\x80\t\x01 "
    "x";

}  // namespace

BOOST_AUTO_TEST_SUITE(text_tokenizer)

BOOST_AUTO_TEST_CASE(vectors_of_gpt2) { check_vectors(data("tokenizer/gpt2"), "gpt-2"); }

BOOST_AUTO_TEST_CASE(vectors_of_llama_2) {
  if (const auto folder = licensed("llama2"); !folder.empty()) check_vectors(folder, "llama-spm");
}

BOOST_AUTO_TEST_CASE(vectors_of_llama_3) {
  if (const auto folder = licensed("llama3"); !folder.empty()) check_vectors(folder, "llama-bpe");
}

// Random texts; the ids are those of the tokenizers library and of SentencePiece (tests/oracle/tokenizer_cases.py).
BOOST_AUTO_TEST_CASE(ids_equal_the_reference_libraries) {
  std::map<std::string, tokenizer> loaded;
  std::size_t cases = 0;
  for (const std::string& line : lines_of(read_file(data("tokenizer/ids.jsonl")))) {
    const auto one = nlohmann::json::parse(line);
    const std::string name = one["tokenizer"];
    const std::string text = one["text"];
    if (loaded.find(name) == loaded.end()) loaded.emplace(name, tokenizer::load(folder_of(name)));
    const tokenizer& tokens = loaded.at(name);
    if (one.contains("ids")) BOOST_TEST(tokens.encode(text) == one["ids"].get<ids>(), name << ": " << one["text"]);
    BOOST_TEST(tokens.encode(text, false, false) == one["plain"].get<ids>(), name << " plain: " << one["text"]);
    if (one.contains("decoded"))
      BOOST_TEST(tokens.decode(one["ids"].get<ids>(), true) == one["decoded"].get<std::string>(), name << ": " << line);
    ++cases;
  }
  BOOST_TEST(loaded.size() == 13U);
  BOOST_TEST(cases == 780U);
}

BOOST_AUTO_TEST_CASE(every_byte_survives_where_the_vocabulary_has_bytes) {
  std::string every_byte = "valid \xE4\xBD\xA0 then ";
  for (int byte = 255; byte >= 0; --byte) every_byte.push_back(static_cast<char>(static_cast<unsigned char>(byte)));
  every_byte += " cut off \xF0\x9F\x98";
  for (const char* name : {"gpt2", "stories260k", "llama3_style", "bytes_then_split", "qwen2",
                           "sentencepiece/bpe_bytes", "sentencepiece/unigram_bytes"}) {
    const tokenizer one = tokenizer::load(folder_of(name));
    for (const std::string& text :
         {every_byte, mixed, std::string(), std::string(" "), std::string("  a"), std::string(1, '\0')})
      BOOST_TEST(one.decode(one.encode(text, false)) == text, name);
  }
}

BOOST_AUTO_TEST_CASE(prefix_and_suffix) {
  const tokenizer stories = tokenizer::load(folder_of("stories260k"));
  BOOST_TEST(stories.prefix() == ids{1});
  BOOST_TEST(stories.suffix().empty());
  BOOST_TEST(stories.vocabulary_size() == 512);
  BOOST_TEST(stories.unknown_id().value() == 0);
  BOOST_TEST(stories.id_of("</s>").value() == 2);
  BOOST_TEST(!stories.id_of("no such token").has_value());
  BOOST_TEST(stories.token_of(1) == "<s>");
  BOOST_TEST(stories.token_of(-1).empty());
  BOOST_TEST(stories.token_of(512).empty());
  BOOST_TEST(stories.is_special(1));
  BOOST_TEST(!stories.is_special(400));
  const tokenizer both = tokenizer::load(folder_of("prefix_space"));
  BOOST_TEST(both.prefix() == ids{both.id_of("<s>").value()});
  BOOST_TEST(both.suffix() == ids{both.id_of("</s>").value()});
  BOOST_TEST(both.encode("").size() == 2U);
  BOOST_TEST(both.encode("", false).empty());
  BOOST_TEST(!tokenizer::load(folder_of("gpt2")).unknown_id().has_value());
}

BOOST_AUTO_TEST_CASE(special_tokens_are_parsed_or_not) {
  const tokenizer one = tokenizer::load(folder_of("gpt2"));
  BOOST_TEST(one.encode("a<|endoftext|>b") == (ids{64, 50256, 65}));
  BOOST_TEST(one.encode("a<|endoftext|>b", true, false).size() > 3U);
  BOOST_TEST(one.decode(ids{64, 50256, 65}, true) == "ab");
  BOOST_TEST(one.decode(ids{64, 50256, 65}) == "a<|endoftext|>b");
}

BOOST_AUTO_TEST_CASE(ids_without_a_token_decode_to_nothing_and_negative_ones_are_refused) {
  const tokenizer one = tokenizer::load(folder_of("gpt2"));
  BOOST_TEST(one.decode(ids{64, 60000, 65}) == "ab");
  BOOST_TEST(contains(message_of<lodestone::data_error>([&] { (void)one.decode(ids{64, -100}); }), "-100"));
}

// A document encodes to the same ids whole, with a cold cache, and from several threads at once.
BOOST_AUTO_TEST_CASE(threads_agree) {
  const tokenizer one = tokenizer::load(folder_of("gpt2"));
  const tokenizer other = tokenizer::load(folder_of("stories260k"));
  std::string document;
  for (int i = 0; i < 200; ++i) document += mixed + std::to_string(i * 7919);
  const ids expected = one.encode(document);
  const ids expected_other = other.encode(document);
  std::vector<std::thread> threads;
  std::vector<int> equal(4, 0);
  for (std::size_t t = 0; t < equal.size(); ++t)
    threads.emplace_back([&, t] {
      for (int round = 0; round < 3; ++round)
        equal[t] += one.encode(document) == expected && other.encode(document) == expected_other ? 1 : 0;
    });
  for (std::thread& thread : threads) thread.join();
  BOOST_TEST(equal == std::vector<int>(4, 3), boost::test_tools::per_element());
}

// One long run without a safe place to cut: the heap, not the quadratic scan. TinyStories has merges across spaces.
BOOST_AUTO_TEST_CASE(long_words_take_n_log_n) {
  const std::string run(200'000, 'a');
  for (const char* name : {"gpt2", "stories260k", "sentencepiece/bpe_bytes", "sentencepiece/unigram"}) {
    const tokenizer one = tokenizer::load(folder_of(name));
    const ids got = one.encode(run, false);
    BOOST_TEST(!got.empty());
    BOOST_TEST(one.decode(got) == run, name);
  }
}

// --- SentencePiece folders -------------------------------------------------------------------------------------------

BOOST_AUTO_TEST_CASE(sentencepiece_folder_reads_its_configuration) {
  const temporary_folder folder;
  const auto place = [&](const std::string& config) {
    write_file(folder / "tokenizer.model", read_file(data("tokenizer/sentencepiece/bpe_bytes.model")));
    if (!config.empty()) write_file(folder / "tokenizer_config.json", config);
    return tokenizer::load(folder.path());
  };
  BOOST_TEST(place("").prefix() == ids{1});
  BOOST_TEST(place(R"({"add_bos_token": false})").prefix().empty());
  const tokenizer both =
      place(R"({"add_bos_token": true, "add_eos_token": true, "tokenizer_class": "LlamaTokenizer"})");
  BOOST_TEST(both.prefix() == ids{1});
  BOOST_TEST(both.suffix() == ids{2});
  BOOST_TEST(both.encode("a</s>", false).back() == 2);
  BOOST_TEST(both.encode("a</s>", false, false).back() != 2);
  BOOST_TEST(both.decode(both.encode("a b")) == "<s> a b</s>");
  BOOST_TEST(both.decode(both.encode("a b"), true) == "a b");

  write_file(folder / "added_tokens.json", R"({"<pad>": 700, "<tool>": 701})");
  const tokenizer added = place(R"({"added_tokens_decoder": {"702": {"content": "<|im_end|>", "special": true},
                                     "2": {"content": "</s>", "special": true}}})");
  BOOST_TEST(added.vocabulary_size() == 703);
  BOOST_TEST(added.encode("<pad><|im_end|>", false) == (ids{700, 702}));
  BOOST_TEST(!added.is_special(700));
  BOOST_TEST(added.is_special(702));
  BOOST_TEST(contains(message_of<lodestone::format_error>(
                          [&] { (void)place(R"({"added_tokens_decoder": {"5": {"content": "<five>"}}})"); }),
                      "share the id 5"));
  BOOST_TEST(contains(message_of<lodestone::format_error>([&] { (void)place(R"({"add_bos_token": "yes"})"); }),
                      "add_bos_token"));
}

BOOST_AUTO_TEST_CASE(chatglm_folder) {
  const temporary_folder folder;
  write_file(folder / "tokenizer.model", read_file(data("tokenizer/sentencepiece/bpe_bytes.model")));
  write_file(folder / "tokenizer_config.json", R"({"tokenizer_class": "ChatGLMTokenizer", "remove_space": false,
      "added_tokens_decoder": {"701": {"content": "[gMASK]", "special": true},
                               "703": {"content": "sop", "special": true},
                               "706": {"content": "<|user|>", "special": true}}})");
  const tokenizer one = tokenizer::load(folder.path());
  BOOST_TEST(one.vocabulary_size() == 709);
  BOOST_TEST(one.prefix() == (ids{701, 703}));
  BOOST_TEST(one.token_of(703) == "sop");
  BOOST_TEST(one.is_special(703));
  BOOST_TEST(one.id_of("<|observation|>").value() == 708);
  const ids turn = one.encode("<|user|>\n", false);
  BOOST_TEST(turn.front() == 706);
  BOOST_TEST(turn.size() == 3U);  // the dummy prefix and the byte of the line end
  // "sop" stands for itself inside a word.
  BOOST_TEST(one.decode(one.encode("philosophy sop", false)) == "philosophy sop");
  for (const std::int32_t id : one.encode("philosophy sop", false)) BOOST_TEST(id < 700);
  BOOST_TEST(one.decode(one.encode("hi"), true) == "hi");
}

// --- Damaged files ---------------------------------------------------------------------------------------------------

BOOST_AUTO_TEST_CASE(missing_files) {
  const temporary_folder folder;
  BOOST_TEST(
      contains(message_of<lodestone::io_error>([&] { (void)tokenizer::load(folder.path()); }), "tokenizer.json"));
  BOOST_CHECK_THROW((void)tokenizer::load(folder / "tokenizer.json"), lodestone::io_error);
  BOOST_CHECK_THROW((void)tokenizer::load(folder / "tokenizer.model"), lodestone::io_error);
}

BOOST_AUTO_TEST_CASE(damaged_json_names_file_and_key) {
  const temporary_folder folder;
  const auto complaint = [&](const std::string& content) {
    write_file(folder / "tokenizer.json", content);
    std::string text = message_of<lodestone::format_error>([&] { (void)tokenizer::load(folder.path()); });
    BOOST_TEST((contains(text, "tokenizer.json") || text == nothing), text);
    return text;
  };
  const auto with = [&](const std::string& model, const std::string& rest = "") {
    return complaint(R"({"model": {"type": "BPE", )" + model + "}" + rest + "}");
  };
  const std::string small = R"("vocab": {"a": 0, "b": 1, "ab": 2}, "merges": ["a b"])";
  BOOST_TEST(with(small) == nothing);  // the base of the cases below is sound
  BOOST_TEST(contains(complaint("{\"model\": "), "not JSON"));
  BOOST_TEST(contains(complaint("[]"), "must be an object"));
  BOOST_TEST(contains(complaint("{}"), "model: this key is missing"));
  BOOST_TEST(contains(complaint(R"({"model": {"type": "WordPiece", "vocab": {}}})"), "WordPiece"));
  BOOST_TEST(contains(with(R"("merges": [])"), "model.vocab: this key is missing"));
  BOOST_TEST(contains(with(R"("vocab": {"a": 0})"), "model.merges: this key is missing"));
  BOOST_TEST(contains(with(R"("vocab": [], "merges": [])"), "model.vocab: this must be an object"));
  BOOST_TEST(contains(with(R"("vocab": {"a": "0"}, "merges": [])"), "the id of \"a\" is not an integer"));
  BOOST_TEST(contains(with(R"("vocab": {"a": 1.5}, "merges": [])"), "not an integer"));
  BOOST_TEST(contains(with(R"("vocab": {"a": 0, "b": 0}, "merges": [])"), "share the id 0"));
  BOOST_TEST(contains(with(R"("vocab": {"a": -1}, "merges": [])"), "impossible id -1"));
  BOOST_TEST(contains(with(R"("vocab": {"a": 99999999999}, "merges": [])"), "impossible id"));
  BOOST_TEST(contains(with(R"("vocab": {"a": 18446744073709551615}, "merges": [])"), "impossible id"));
  BOOST_TEST(contains(with(R"("vocab": {"a": 2000000000}, "merges": [])"), "in a vocabulary of 1 tokens"));
  BOOST_TEST(contains(with(R"("vocab": {"a": 0, "b": 1}, "merges": ["a b"])"), "merges[0]: the merge names \"ab\""));
  BOOST_TEST(
      contains(with(R"("vocab": {"a": 0, "ac": 1}, "merges": [["a", "c"]])"), "\"c\", which is not in the vocabulary"));
  BOOST_TEST(contains(with(R"("vocab": {"a": 0}, "merges": ["a"])"), "two pieces"));
  BOOST_TEST(contains(with(R"("vocab": {"a": 0}, "merges": ["a b c"])"), "two pieces"));
  BOOST_TEST(contains(with(R"("vocab": {"a": 0}, "merges": [["a"]])"), "two pieces"));
  BOOST_TEST(contains(with(R"("vocab": {"a": 0}, "merges": [7])"), "merges[0]: this must be a string"));
  BOOST_TEST(contains(with(R"("unk_token": "<unk>", )" + small), "\"<unk>\" is not in the vocabulary"));
  BOOST_TEST(contains(with(R"("end_of_word_suffix": "</w>", )" + small), "end_of_word_suffix"));
  BOOST_TEST(contains(with(R"("dropout": 0.1, )" + small), "dropout"));
  BOOST_TEST(contains(with(R"("byte_fallback": 1, )" + small), "byte_fallback: this must be true or false"));
  const auto unknown_type = [&](const std::string& key) {
    return with(small, ", \"" + key + R"(": {"type": "Martian"})");
  };
  for (const char* key : {"normalizer", "pre_tokenizer", "post_processor", "decoder"}) {
    const std::string text = unknown_type(key);
    BOOST_TEST(contains(text, key), text);
    BOOST_TEST(contains(text, "\"Martian\" is not supported"), text);
  }
  BOOST_TEST(contains(
      with(small, R"(, "normalizer": {"type": "Sequence", "normalizers": [{"type": "NFC"}, {"type": "Nmt"}]})"),
      "normalizer.normalizers[1]"));
  BOOST_TEST(contains(
      with(small, R"(, "pre_tokenizer": {"type": "Split", "pattern": {"Regex": "(a"}, "behavior": "Isolated"})"),
      "does not compile"));
  BOOST_TEST(
      contains(with(small, R"(, "pre_tokenizer": {"type": "Split", "pattern": {"Regex": "a"}, "behavior": "Eaten"})"),
               "\"Eaten\" is unknown"));
  BOOST_TEST(contains(with(small, R"(, "added_tokens": [{"id": 0, "content": "b"}])"), "share the id 0"));
  BOOST_TEST(contains(with(small, R"(, "added_tokens": [{"id": 7, "content": "b"}])"), "has the ids 1 and 7"));
  BOOST_TEST(contains(with(small, R"(, "added_tokens": [{"id": 7}])"), "added_tokens[0].content"));
  BOOST_TEST(contains(with(small, R"(, "post_processor": {"type": "TemplateProcessing", "single":
      [{"SpecialToken": {"id": "<s>"}}, {"Sequence": {"id": "A"}}], "special_tokens": {"<s>": {"ids": [9]}}})"),
                      "the id 9, which is no token"));
  BOOST_TEST(
      contains(with(small, R"(, "post_processor": {"type": "TemplateProcessing", "single": [], "special_tokens": {}})"),
               "does not contain it"));
  std::string deep = R"({"type": "NFC"})";
  for (int i = 0; i < 40; ++i) deep = R"({"type": "Sequence", "normalizers": [)" + deep + "]}";
  BOOST_TEST(contains(with(small, ", \"normalizer\": " + deep), "nested too deeply"));
}

BOOST_AUTO_TEST_CASE(damaged_sentencepiece_models) {
  const temporary_folder folder;
  const std::string sound = read_file(data("tokenizer/sentencepiece/bpe_bytes.model"));
  const auto complaint = [&](const std::string& content) {
    write_file(folder / "tokenizer.model", content);
    std::string text = message_of<lodestone::format_error>([&] { (void)tokenizer::load(folder.path()); });
    BOOST_TEST(contains(text, "tokenizer.model"), text);
    return text;
  };
  BOOST_TEST(contains(complaint(""), "no pieces"));
  BOOST_TEST(contains(complaint("IQ== 0\nIg== 1\n"), "tiktoken"));
  for (const std::size_t size : {1U, 17U, 1000U, 5000U})
    BOOST_TEST(contains(complaint(sound.substr(0, size)), "tokenizer.model"));
  const auto piece = [](const std::string& text, char type) {
    const std::string body = "\x0a" + std::string(1, static_cast<char>(text.size())) + text + "\x18" + type;
    return "\x0a" + std::string(1, static_cast<char>(body.size())) + body;
  };
  const std::string unknown = piece("<unk>", '\x02');
  BOOST_TEST(contains(complaint(piece("a", '\x01')), "UNKNOWN"));
  BOOST_TEST(contains(complaint(unknown + piece("<u>", '\x02')), "two pieces are of the type UNKNOWN"));
  BOOST_TEST(contains(complaint(unknown + piece("a", '\x01') + piece("a", '\x01')), "has the ids 1 and 2"));
  BOOST_TEST(contains(complaint(unknown + piece("", '\x01')), "piece 1 is empty"));
  BOOST_TEST(contains(complaint(unknown + piece("a", '\x09')), "unknown type"));
  BOOST_TEST(contains(complaint(unknown + piece("a", '\x05')), "UNUSED"));
  BOOST_TEST(contains(complaint(unknown + piece("zz", '\x06')), "names no byte"));
  const std::string trainer = "\x12";
  BOOST_TEST(contains(complaint(unknown + trainer + "\x02\x18\x03"), "model type 3"));        // WORD
  BOOST_TEST(contains(complaint(unknown + trainer + "\x03\x98\x02\x01"), "not every byte"));  // byte_fallback
  BOOST_TEST(contains(complaint(unknown + trainer + "\x03\xc0\x01\x01"), "treat_whitespace_as_suffix"));
  const std::string normalizer = "\x1a";
  BOOST_TEST(
      contains(complaint(unknown + normalizer + std::string("\x06\x12\x04\xff\xff\xff\x7f", 7)), "character map"));
}

BOOST_AUTO_TEST_SUITE_END()
