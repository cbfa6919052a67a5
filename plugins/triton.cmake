# Triton's `onnxruntime` backend. Its functions of Triton come from the server that opens it, ONNX Runtime from a library
# that it opens itself: nothing is linked to either.
add_library(triton_onnxruntime SHARED
  triton/backend.cpp triton/config.cpp triton/engine.cpp triton/execute.cpp triton/json.cpp triton/sender.cpp)
target_link_libraries(triton_onnxruntime PRIVATE maskline_ort_headers Threads::Threads ${CMAKE_DL_LIBS})
show_only(triton_onnxruntime triton_backend)
