# What needs ONNX Runtime's headers. The library is built once for every version from 1.18 on, and links none.
if(NOT EXISTS ${MASKLINE_ONNXRUNTIME_INCLUDE}/onnxruntime_cxx_api.h)
  message(FATAL_ERROR "MASKLINE_ONNXRUNTIME_INCLUDE: there is no ${MASKLINE_ONNXRUNTIME_INCLUDE}/onnxruntime_cxx_api.h")
endif()
sources_of(ORT_OPS ort_op.cpp)
add_library(
  maskline_ort SHARED ${ORT_OPS} ort/register.cpp $<TARGET_OBJECTS:maskline_host_ops>
                      $<TARGET_OBJECTS:maskline_nodes>)
target_include_directories(maskline_ort PRIVATE ${CMAKE_SOURCE_DIR})
target_include_directories(maskline_ort SYSTEM PRIVATE ${MASKLINE_ONNXRUNTIME_INCLUDE})
target_compile_options(maskline_ort PRIVATE ${WARNINGS})
target_link_libraries(maskline_ort PRIVATE Threads::Threads)
show_only(maskline_ort custom_ops)
target_link_options(maskline_ort PRIVATE -Wl,--gc-sections -Wl,--no-undefined)
