// The CUDA backend as a program compiled by g++ sees it: link lodestone::cuda, and lodestone::kernels or kernels of
// your own instantiated from lodestone/cuda.cuh.
#pragma once

#include <lodestone/cuda/attention_reference.hpp>
#include <lodestone/cuda/backend.hpp>
#include <lodestone/cuda/device.hpp>
#include <lodestone/cuda/flash_decode.hpp>
#include <lodestone/cuda/flash_mma.hpp>
#include <lodestone/cuda/flash_policy.hpp>
#include <lodestone/cuda/matmul.hpp>
#include <lodestone/cuda/matmul_plan.hpp>
#include <lodestone/cuda/matmul_timing.hpp>
#include <lodestone/cuda/operations.hpp>
