# What needs ONNX Runtime's headers. The library is built once for every version from 1.18 on, and links none.
if(NOT EXISTS ${MASKLINE_ONNXRUNTIME_INCLUDE}/onnxruntime_cxx_api.h)
  message(FATAL_ERROR "MASKLINE_ONNXRUNTIME_INCLUDE: there is no ${MASKLINE_ONNXRUNTIME_INCLUDE}/onnxruntime_cxx_api.h")
endif()

add_library(maskline_ort_register OBJECT ort/register.cpp)
target_include_directories(maskline_ort_register PRIVATE ${CMAKE_SOURCE_DIR})
target_include_directories(maskline_ort_register SYSTEM PRIVATE ${MASKLINE_ONNXRUNTIME_INCLUDE})
target_compile_options(maskline_ort_register PRIVATE ${WARNINGS})

function(add_custom_ops TARGET)
  add_library(${TARGET} SHARED $<TARGET_OBJECTS:maskline_ort_register> $<TARGET_OBJECTS:maskline_nodes> ${ARGN})
  target_include_directories(${TARGET} PRIVATE ${CMAKE_SOURCE_DIR})
  target_include_directories(${TARGET} SYSTEM PRIVATE ${MASKLINE_ONNXRUNTIME_INCLUDE})
  target_compile_options(${TARGET} PRIVATE ${WARNINGS} -O1) # what runs once a call; -O3 would take twice as long to compile
  target_link_libraries(${TARGET} PRIVATE Threads::Threads)
  show_only(${TARGET} custom_ops)
  target_link_options(${TARGET} PRIVATE -Wl,--no-undefined)
endfunction()

function(over_cuda TARGET)
  target_sources(${TARGET} PRIVATE $<TARGET_OBJECTS:maskline_on_device> ${ARGN})
  target_include_directories(${TARGET} SYSTEM PRIVATE ${CUDAToolkit_INCLUDE_DIRS})
  target_link_libraries(${TARGET} PRIVATE CUDA::cudart_static)
endfunction()

sources_of(ON_HOST on_host.cpp)
add_custom_ops(maskline_ort ${ON_HOST} ort/ops.cpp $<TARGET_OBJECTS:maskline_host_ops>)
if(MASKLINE_CUDA)
  target_compile_definitions(maskline_ort PRIVATE MASKLINE_ORT_CUDA=1)
  over_cuda(maskline_ort $<TARGET_OBJECTS:maskline_kernels>)
  # The half for CUDA over the kernels of the emulator: it runs on the host's memory, for tests.
  add_custom_ops(maskline_ort_simt testing/ort/emulated_ops.cpp)
  over_cuda(maskline_ort_simt $<TARGET_OBJECTS:maskline_simt>)
endif()
