// Arbitrary bytes as a benchmark's file and as answers: read and marked, or refused with an error of the library.
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>
#include <vector>

#include <unistd.h>

#include <lodestone/core/error.hpp>
#include <lodestone/eval/answer_scores.hpp>
#include <lodestone/eval/chinese_words.hpp>
#include <lodestone/eval/edit_similarity.hpp>
#include <lodestone/eval/infinite_bench.hpp>
#include <lodestone/eval/longbench.hpp>
#include <lodestone/eval/lv_eval.hpp>
#include <lodestone/eval/question_files.hpp>
#include <lodestone/eval/rouge.hpp>
#include <lodestone/eval/truncate.hpp>
#include <lodestone/text/jsonl.hpp>

namespace {

using namespace lodestone::eval;

/// Data sets that are read from files of their names.
class folder_of_files {
 public:
  folder_of_files() : path_(std::filesystem::temp_directory_path() / ("benchmark_fuzz_" + std::to_string(getpid()))) {
    std::filesystem::create_directories(path_);
  }
  folder_of_files(const folder_of_files&) = delete;
  folder_of_files& operator=(const folder_of_files&) = delete;
  ~folder_of_files() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  std::filesystem::path write(const std::string& name, std::string_view content) const {
    std::ofstream(path_ / name, std::ios::binary) << content;
    return path_ / name;
  }
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

void check_share(double value) {
  if (!(value >= 0.0 && value <= 1.0)) std::abort();
}

void check_task(const marked_questions& task, std::string_view answer) {
  for (std::size_t i = 0; i < task.size(); ++i) {
    if (task.ask(i).id.empty()) std::abort();
    const std::vector<score> scores = task.mark(i, answer);
    const std::vector<score> empty = task.mark(i, "");
    if (scores.empty() || scores.size() != empty.size()) std::abort();
    for (std::size_t k = 0; k < scores.size(); ++k) {
      check_share(scores[k].value);
      if (scores[k].metric != empty[k].metric) std::abort();
    }
  }
}

template <class Read>
void read(const Read& reader, std::string_view answer) {
  try {
    check_task(reader(), answer);
  } catch (const lodestone::error&) {  // refused
  }
}

void check_scores(std::string_view answer, std::string_view reference) {
  static const chinese_words jieba = chinese_words::load(LODESTONE_SOURCE_DIR "/tests/data/eval/jieba");
  check_share(answer_f1(answer, reference));
  check_share(character_f1(answer, reference));
  check_share(chinese_answer_f1(answer, reference, jieba));
  check_share(code_similarity(answer, reference));
  check_share(indel_ratio(answer, reference));
  check_share(rouge_l_of_sets(answer, reference));
  check_share(number_share(answer, reference));
  check_share(rouge_l(rouge_words(answer, {.is_on = true}), std::array{rouge_words(reference, {.is_on = true})}).f);
  check_share(rouge_n(rouge_words(answer), std::array{rouge_words(reference)}, 2).f);
  (void)is_right_choice(answer, 'B', reference);
  (void)has_word(answer, reference);
  if (!is_exact_match(answer, answer) || !is_substring_match(answer, answer)) std::abort();
  std::string joined;
  for (const std::string& word : jieba(answer)) joined += word;
  if (code_points(joined) != code_points(answer)) std::abort();
  if (lodestone::find_broken_utf8(replace_broken_utf8(answer)) != std::string_view::npos) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const folder_of_files folder;
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  const std::string_view answer = bytes.substr(size / 2);
  if (size < 4096) check_scores(answer, bytes.substr(0, size / 2));
  const auto any = folder.write("any.jsonl", bytes);
  read([&] { return longbench(any); }, answer);
  read([&] { return musique(any); }, answer);
  read([&] { return two_wiki(any); }, answer);
  read([&] { return qmsum(any); }, answer);
  read([&] { return key_value_retrieval(any); }, answer);
  (void)folder.write("s1.content", answer);
  read([&] { return narrativeqa(any, folder.path()); }, answer);
  for (const char* name : {"cmrc_mixup_16k.jsonl", "hotpotwikiqa_mixup_16k.jsonl", "dureader_mixup_16k.jsonl"})
    read([&, file = folder.write(name, bytes)] { return lv_eval(file); }, answer);
  for (const char* name :
       {"longbook_qa_eng.jsonl", "longbook_qa_chn.jsonl", "longbook_choice_eng.jsonl", "passkey.jsonl"})
    read([&, file = folder.write(name, bytes)] { return infinite_bench(file); }, answer);
  return 0;
}
