// Every kernel and launcher of the CUDA backend, for nvcc alone: include this in a .cu to instantiate launchers for
// types or policies of your own.
#pragma once

#include <lodestone/cuda/attention_reference.cuh>
#include <lodestone/cuda/elementwise.cuh>
#include <lodestone/cuda/embedding.cuh>
#include <lodestone/cuda/few_rows.cuh>
#include <lodestone/cuda/flash_mma.cuh>
#include <lodestone/cuda/head.cuh>
#include <lodestone/cuda/normalise.cuh>
#include <lodestone/cuda/optimise.cuh>
#include <lodestone/cuda/rope.cuh>
