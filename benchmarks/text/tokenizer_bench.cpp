// How fast the tokenizer encodes and decodes, on one core. Its peer is tokenizer_bench.py, which prints the ratio.
//
//   tokenizer_bench FOLDER TEXT...       megabytes a second of CPU time for each file, best of five
//   tokenizer_bench --ids FOLDER         a JSON string a line on stdin, a JSON array of ids a line on stdout
#include <algorithm>
#include <cstdint>
#include <ctime>
#include <exception>
#include <iostream>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include <lodestone/core/file.hpp>
#include <lodestone/text/tokenizer.hpp>

namespace {

double cpu_seconds() {
  timespec now{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

/// The least time of five calls.
template <class Call>
double best_of_five(Call&& call) {
  double best = 1e9;
  for (int i = 0; i < 5; ++i) {
    const double start = cpu_seconds();
    call();
    best = std::min(best, cpu_seconds() - start);
  }
  return best;
}

int print_ids(const std::string& folder) {
  const auto tokens = lodestone::tokenizer::load(folder);
  for (std::string line; std::getline(std::cin, line);)
    std::cout << nlohmann::json(tokens.encode(nlohmann::json::parse(line).get<std::string>())).dump() << '\n';
  return 0;
}

}  // namespace

int main(int count, char** arguments) try {
  const std::vector<std::string> words(arguments + 1, arguments + count);
  if (words.size() == 2 && words[0] == "--ids") return print_ids(words[1]);
  if (words.size() < 2) {
    std::cerr << "usage: tokenizer_bench FOLDER TEXT...\n       tokenizer_bench --ids FOLDER\n";
    return 2;
  }
  const double start = cpu_seconds();
  const auto tokens = lodestone::tokenizer::load(words[0]);
  nlohmann::json result{{"load_seconds", cpu_seconds() - start}};
  for (std::size_t i = 1; i < words.size(); ++i) {
    const std::string text = lodestone::read_text(words[i]);
    const auto ids = tokens.encode(text, false);
    if (tokens.decode(ids) != text) std::cerr << words[i] << ": decode(encode(text)) differs from the text\n";
    const double megabytes = static_cast<double>(text.size()) / 1e6;
    const double encode = best_of_five([&] { (void)tokens.encode(text, false); });
    const double decode = best_of_five([&] { (void)tokens.decode(ids); });
    result["texts"].push_back({{"file", words[i]},
                               {"bytes", text.size()},
                               {"ids", ids.size()},
                               {"encode_mb_per_s", megabytes / encode},
                               {"decode_mb_per_s", megabytes / decode}});
  }
  std::cout << result.dump() << '\n';
  return 0;
} catch (const std::exception& problem) {
  std::cerr << "tokenizer_bench: " << problem.what() << '\n';
  return 1;
}
