// Evaluation: every public header of eval/. Training programs do without them: lodestone.hpp does not include it.
#pragma once

#include <lodestone/eval/answer_metrics.hpp>
#include <lodestone/eval/answer_scores.hpp>
#include <lodestone/eval/answer_text.hpp>
#include <lodestone/eval/any_task.hpp>
#include <lodestone/eval/chinese_words.hpp>
#include <lodestone/eval/choice_data.hpp>
#include <lodestone/eval/choice_shots.hpp>
#include <lodestone/eval/concept.hpp>
#include <lodestone/eval/correlation.hpp>
#include <lodestone/eval/drawn_words.hpp>
#include <lodestone/eval/edit_similarity.hpp>
#include <lodestone/eval/haystack.hpp>
#include <lodestone/eval/infinite_bench.hpp>
#include <lodestone/eval/judge.hpp>
#include <lodestone/eval/judge_rating.hpp>
#include <lodestone/eval/judge_template.hpp>
#include <lodestone/eval/judged.hpp>
#include <lodestone/eval/long_perplexity.hpp>
#include <lodestone/eval/longbench.hpp>
#include <lodestone/eval/longbench_chat.hpp>
#include <lodestone/eval/longbench_rated.hpp>
#include <lodestone/eval/lv_eval.hpp>
#include <lodestone/eval/marked_questions.hpp>
#include <lodestone/eval/mt_bench.hpp>
#include <lodestone/eval/multiple_choice.hpp>
#include <lodestone/eval/needle.hpp>
#include <lodestone/eval/perplexity.hpp>
#include <lodestone/eval/porter_stem.hpp>
#include <lodestone/eval/progress.hpp>
#include <lodestone/eval/published_prompts.hpp>
#include <lodestone/eval/question_files.hpp>
#include <lodestone/eval/record_json.hpp>
#include <lodestone/eval/report.hpp>
#include <lodestone/eval/retrieval_heads.hpp>
#include <lodestone/eval/rouge.hpp>
#include <lodestone/eval/ruler.hpp>
#include <lodestone/eval/runner.hpp>
#include <lodestone/eval/scoring.hpp>
#include <lodestone/eval/subsequence.hpp>
#include <lodestone/eval/table.hpp>
#include <lodestone/eval/truncate.hpp>

/// Evaluation: tasks, metrics, and how they are run.
namespace lodestone::eval {}
