// One product of matrices for everything that is trained: C += op(A) op(B) or C = op(A) op(B),
// row-major.
//
//   matmul(Mat{x, 4}, Mat{w, 4, true}, y, 3, 32, 3, 4);    // y[32, 3] += x[32, 4] w[3, 4]^T
//   matmul(Mat{g, 3, true}, Mat{x, 4}, dw, 4, 3, 4, 32);   // dw[3, 4] += g[32, 3]^T x[32, 4]
//
// A micro kernel keeps a tile of C in registers and walks along k: it broadcasts elements of A and
// reads whole vectors of B.  A needs no packing for that, transposed or not (rows or columns of it
// are both walked in steps of a constant); B is packed only where its columns are not neighbours,
// and at the right edge.  AVX-512, AVX2 with FMA, or plain loops are chosen at run time.  The order
// of summation is that of k, but small products take plain loops without fused multiply-adds: one
// machine and one batch size always give the same bits, two of them differ in rounding.
//
// A convolution is such a product without a copy of its windows: a window is some segments of
// neighbours in the image, at the same distances from its first value.
//
//   C[r, j] += sum over segments s, k < depth of  a[a_rows[r] + a_at[s] + k a_step]
//                                               * b[b_at[s] + k b_step + j]
#pragma once
#include <cstddef>
#include <span>

namespace litegap {

template <class T>
struct Mat {
  const T* data = nullptr;
  std::size_t stride = 0;   // elements from row to row, as it lies
  bool transposed = false;  // op(A) is the transpose of what lies there
};

enum class Into : bool { kAdd, kReplace };

// C[m, n] += op(A)[m, k] op(B)[k, n], or = ; `c_stride` from row to row of C.
template <class T>
void matmul(Mat<T> a, Mat<T> b, T* c, std::size_t c_stride, std::size_t m, std::size_t n,
            std::size_t k, Into into = Into::kAdd);

template <class T>
struct Segmented {
  const T* a = nullptr;
  std::ptrdiff_t a_step = 1;
  std::span<const std::ptrdiff_t> a_rows, a_at;
  const T* b = nullptr;
  std::ptrdiff_t b_step = 0;
  std::span<const std::ptrdiff_t> b_at;
  T* c = nullptr;
  std::span<const std::ptrdiff_t> c_rows;  // rows of n, none of which overlap
  std::size_t n = 0, depth = 0;
  bool beyond = false;  // 47 values behind every row of B can be read
};
template <class T>
void matmul(const Segmented<T>& product);

}  // namespace litegap
