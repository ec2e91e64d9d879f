// The host umbrella for training: every public header that g++ alone can compile, but for generating text
// (generation.hpp), measuring models (evaluation.hpp) and making data with them (synthesis.hpp). A program that wants
// less includes the headers it uses, or one room at a time.
#pragma once

#include <lodestone/version.hpp>

#include <lodestone/core/arena.hpp>
#include <lodestone/core/checks.hpp>
#include <lodestone/core/checksum.hpp>
#include <lodestone/core/dtype.hpp>
#include <lodestone/core/error.hpp>
#include <lodestone/core/extents.hpp>
#include <lodestone/core/file.hpp>
#include <lodestone/core/folder.hpp>
#include <lodestone/core/list.hpp>
#include <lodestone/core/machine.hpp>
#include <lodestone/core/random.hpp>
#include <lodestone/core/tensor.hpp>
#include <lodestone/core/thread_pool.hpp>
#include <lodestone/core/token_groups.hpp>

#include <lodestone/text/added_tokens.hpp>
#include <lodestone/text/bpe.hpp>
#include <lodestone/text/byte_alphabet.hpp>
#include <lodestone/text/chat_encoder.hpp>
#include <lodestone/text/chat_families.hpp>
#include <lodestone/text/chat_message.hpp>
#include <lodestone/text/chat_program.hpp>
#include <lodestone/text/chat_template.hpp>
#include <lodestone/text/decoder.hpp>
#include <lodestone/text/jsonl.hpp>
#include <lodestone/text/merge.hpp>
#include <lodestone/text/normalizer.hpp>
#include <lodestone/text/piece_table.hpp>
#include <lodestone/text/pre_tokenizer.hpp>
#include <lodestone/text/prefix_trie.hpp>
#include <lodestone/text/protobuf.hpp>
#include <lodestone/text/regex.hpp>
#include <lodestone/text/scanner.hpp>
#include <lodestone/text/sentencepiece_folder.hpp>
#include <lodestone/text/sentencepiece_model.hpp>
#include <lodestone/text/sentencepiece_normalizer.hpp>
#include <lodestone/text/special_tokens.hpp>
#include <lodestone/text/token_list.hpp>
#include <lodestone/text/token_spans.hpp>
#include <lodestone/text/tokenizer.hpp>
#include <lodestone/text/tokenizer_json.hpp>
#include <lodestone/text/tokenizer_parts.hpp>
#include <lodestone/text/unicode.hpp>
#include <lodestone/text/unigram.hpp>
#include <lodestone/text/word_cache.hpp>

#include <lodestone/data/documents.hpp>
#include <lodestone/data/example_builder.hpp>
#include <lodestone/data/groups.hpp>
#include <lodestone/data/memory_store.hpp>
#include <lodestone/data/mixture.hpp>
#include <lodestone/data/over_long.hpp>
#include <lodestone/data/preference.hpp>
#include <lodestone/data/preference_builder.hpp>
#include <lodestone/data/preference_text.hpp>
#include <lodestone/data/prepare.hpp>
#include <lodestone/data/record.hpp>
#include <lodestone/data/result_log.hpp>
#include <lodestone/data/summary.hpp>
#include <lodestone/data/token_store.hpp>

#include <lodestone/batching/assemble.hpp>
#include <lodestone/batching/assignment.hpp>
#include <lodestone/batching/concept.hpp>
#include <lodestone/batching/cost.hpp>
#include <lodestone/batching/example.hpp>
#include <lodestone/batching/groups.hpp>
#include <lodestone/batching/naive.hpp>
#include <lodestone/batching/packed.hpp>
#include <lodestone/batching/parity.hpp>
#include <lodestone/batching/prefix_tree.hpp>
#include <lodestone/batching/report.hpp>
#include <lodestone/batching/separate.hpp>
#include <lodestone/batching/shared_prefix.hpp>
#include <lodestone/batching/sorted.hpp>
#include <lodestone/batching/steps.hpp>
#include <lodestone/batching/token_batch.hpp>

#include <lodestone/position/concept.hpp>
#include <lodestone/position/contiguous.hpp>
#include <lodestone/position/coverage.hpp>
#include <lodestone/position/layout.hpp>
#include <lodestone/position/logo.hpp>
#include <lodestone/position/original.hpp>
#include <lodestone/position/pose.hpp>
#include <lodestone/position/randpos.hpp>
#include <lodestone/position/rope.hpp>
#include <lodestone/position/rope_config.hpp>
#include <lodestone/position/shared.hpp>

#include <lodestone/attention/blocked.hpp>
#include <lodestone/attention/concept.hpp>
#include <lodestone/attention/gather.hpp>
#include <lodestone/attention/observed.hpp>
#include <lodestone/attention/reference.hpp>
#include <lodestone/attention/shape.hpp>
#include <lodestone/attention/slices.hpp>

#include <lodestone/loss/chosen.hpp>
#include <lodestone/loss/concept.hpp>
#include <lodestone/loss/cpo.hpp>
#include <lodestone/loss/dpo.hpp>
#include <lodestone/loss/logo.hpp>
#include <lodestone/loss/orpo.hpp>
#include <lodestone/loss/outcome.hpp>
#include <lodestone/loss/preference.hpp>
#include <lodestone/loss/weighted_sft.hpp>

#include <lodestone/model/adapters.hpp>
#include <lodestone/model/config.hpp>
#include <lodestone/model/config_edit.hpp>
#include <lodestone/model/config_json.hpp>
#include <lodestone/model/cost.hpp>
#include <lodestone/model/counting.hpp>
#include <lodestone/model/head.hpp>
#include <lodestone/model/kv_cache.hpp>
#include <lodestone/model/layer.hpp>
#include <lodestone/model/layout.hpp>
#include <lodestone/model/llama.hpp>
#include <lodestone/model/names.hpp>
#include <lodestone/model/parameters.hpp>
#include <lodestone/model/projection.hpp>
#include <lodestone/model/scored_rows.hpp>
#include <lodestone/model/stored_tensors.hpp>
#include <lodestone/model/tape.hpp>

#include <lodestone/activations/automatic.hpp>
#include <lodestone/activations/cost.hpp>
#include <lodestone/activations/table.hpp>

#include <lodestone/optim/adamw.hpp>
#include <lodestone/optim/clip.hpp>
#include <lodestone/optim/concept.hpp>
#include <lodestone/optim/schedule.hpp>

#include <lodestone/checkpoint/adapter.hpp>
#include <lodestone/checkpoint/convert.hpp>
#include <lodestone/checkpoint/pickle.hpp>
#include <lodestone/checkpoint/pickle_machine.hpp>
#include <lodestone/checkpoint/pretrained.hpp>
#include <lodestone/checkpoint/pretrained_writer.hpp>
#include <lodestone/checkpoint/safetensors.hpp>
#include <lodestone/checkpoint/training_state.hpp>
#include <lodestone/checkpoint/weights.hpp>
#include <lodestone/checkpoint/zip.hpp>

#include <lodestone/host/attention.hpp>
#include <lodestone/host/attention_tiles.hpp>
#include <lodestone/host/backend.hpp>
#include <lodestone/host/elementwise.hpp>
#include <lodestone/host/exponential.hpp>
#include <lodestone/host/gemm.hpp>
#include <lodestone/host/head.hpp>
#include <lodestone/host/normalise.hpp>
#include <lodestone/host/optimise.hpp>
#include <lodestone/host/rope.hpp>
#include <lodestone/host/simd.hpp>
#include <lodestone/host/tile_product.hpp>
#include <lodestone/host/tiles.hpp>

#include <lodestone/dist/any.hpp>
#include <lodestone/dist/concept.hpp>
#include <lodestone/dist/single.hpp>
#include <lodestone/dist/threads.hpp>

#include <lodestone/train/checkpoints.hpp>
#include <lodestone/train/loop.hpp>
#include <lodestone/train/memory.hpp>
#include <lodestone/train/program.hpp>
#include <lodestone/train/recorder.hpp>
#include <lodestone/train/recorders/format.hpp>
#include <lodestone/train/recorders/heat_map.hpp>
#include <lodestone/train/recorders/html_recorder.hpp>
#include <lodestone/train/recorders/html_report.hpp>
#include <lodestone/train/recorders/jsonl.hpp>
#include <lodestone/train/recorders/plot.hpp>
#include <lodestone/train/recorders/plot_axis.hpp>
#include <lodestone/train/recorders/progress.hpp>
#include <lodestone/train/recorders/tensorboard.hpp>
#include <lodestone/train/run_folder.hpp>
#include <lodestone/train/signals.hpp>
#include <lodestone/train/step.hpp>

/// Lodestone: everything that users name stands here or in a namespace below.
namespace lodestone {}
/// Activation policies: what is kept, recomputed or moved between forward and backward.
namespace lodestone::activations {}
/// Batching strategies, plans, and their assembly into streams.
namespace lodestone::batching {}
/// Which tensors weight decay applies to.
namespace lodestone::decay {}
/// Communicators.
namespace lodestone::dist {}
/// Ranks as threads of one process.
namespace lodestone::dist::threads {}
/// The published chat formats.
namespace lodestone::families {}
/// Losses.
namespace lodestone::loss {}
/// The operations of the host backend, as free functions over views.
namespace lodestone::on_host {}
/// Attention on the host: tiles of scores.
namespace lodestone::on_host::attention {}
/// Optimisers, schedules, clipping.
namespace lodestone::optim {}
/// Where weights, gradients and optimiser state live.
namespace lodestone::parameters {}
/// PyTorch's pickled checkpoints, read without running code.
namespace lodestone::pickle {}
/// SVG plots of the HTML report.
namespace lodestone::plot {}
/// Position policies.
namespace lodestone::position {}
/// Projections of a layer.
namespace lodestone::projections {}
/// Files of tensors.
namespace lodestone::safetensors {}
/// Parts of tokenizers.
namespace lodestone::text {}
/// Steps, loops and checkpoints of a training run.
namespace lodestone::train {}
/// Zip archives.
namespace lodestone::zip {}
