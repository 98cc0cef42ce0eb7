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
#pragma once
#include <cstddef>

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

}  // namespace litegap
