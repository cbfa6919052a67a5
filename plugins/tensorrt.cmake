# What needs TensorRT's headers. TensorRT itself is needed to run an engine, not to build or test this.
set(NVINFER_HEADER ${MASKLINE_TENSORRT_INCLUDE}/NvInferRuntime.h)
if(NOT EXISTS ${NVINFER_HEADER})
  message(FATAL_ERROR "MASKLINE_TENSORRT_INCLUDE: there is no ${NVINFER_HEADER}")
endif()
set(MASKLINE_NVINFER "" CACHE FILEPATH "libnvinfer.so that the Triton shim is linked to; empty: a stand-in of its name")

# The headers' own version decides which libnvinfer.so.N the shim asks for.
set(ASK ${CMAKE_BINARY_DIR}/nvinfer_version.cpp)
file(WRITE ${ASK} "#include <NvInferVersion.h>\nmaskline_version NV_TENSORRT_MAJOR NV_TENSORRT_MINOR\n")
execute_process(
  COMMAND ${CMAKE_CXX_COMPILER} -E -P -I${MASKLINE_TENSORRT_INCLUDE} ${ASK}
  OUTPUT_VARIABLE VERSION_TEXT COMMAND_ERROR_IS_FATAL ANY)
string(REGEX MATCH "maskline_version +([0-9]+) +([0-9]+)" FOUND "${VERSION_TEXT}")
set(NVINFER_MAJOR ${CMAKE_MATCH_1})
message(STATUS "TensorRT headers ${CMAKE_MATCH_1}.${CMAKE_MATCH_2} in ${MASKLINE_TENSORRT_INCLUDE}")

add_library(maskline_nvinfer_headers INTERFACE)
target_include_directories(maskline_nvinfer_headers SYSTEM INTERFACE ${MASKLINE_TENSORRT_INCLUDE})
target_include_directories(maskline_nvinfer_headers SYSTEM INTERFACE ${CUDAToolkit_INCLUDE_DIRS})
target_include_directories(maskline_nvinfer_headers INTERFACE ${CMAKE_SOURCE_DIR})
target_compile_options(maskline_nvinfer_headers INTERFACE ${WARNINGS})

# The plugins: nothing but the two functions that TensorRT asks for is seen from outside, and no libnvinfer is linked.
add_library(
  maskline_faces OBJECT framework/register.cpp framework/base.cpp framework/fields.cpp framework/field_list.cpp
                        framework/formats.cpp framework/log.cpp)
target_link_libraries(maskline_faces PRIVATE maskline_nvinfer_headers)

function(add_plugins TARGET)
  add_library(${TARGET} SHARED $<TARGET_OBJECTS:maskline_faces> $<TARGET_OBJECTS:maskline_nodes>
                               $<TARGET_OBJECTS:maskline_on_device> ${ARGN})
  target_link_libraries(${TARGET} PRIVATE maskline_nvinfer_headers CUDA::cudart_static ${CMAKE_DL_LIBS})
  target_link_options(${TARGET} PRIVATE -Wl,--no-undefined)
  show_only(${TARGET} plugins)
endfunction()
add_plugins(maskline_trt $<TARGET_OBJECTS:maskline_kernels>)
# The same plugins over the kernels of the emulator: enqueue runs on the host's memory, for tests.
add_plugins(maskline_trt_simt $<TARGET_OBJECTS:maskline_simt>)
# And over launches that break the rules: the harness must notice.
add_plugins(maskline_faulty_simt testing/harness/faulty_launches.cpp)

# The harness plays TensorRT; its registry is also the stand-in for libnvinfer.
add_library(maskline_play_nvinfer SHARED testing/harness/played/nvinfer.cpp)
target_link_libraries(maskline_play_nvinfer PRIVATE maskline_nvinfer_headers)
target_compile_definitions(maskline_play_nvinfer PRIVATE TENSORRT_BUILD_LIB) # the two functions are seen from outside
set_target_properties(
  maskline_play_nvinfer PROPERTIES OUTPUT_NAME nvinfer VERSION ${NVINFER_MAJOR}.0 SOVERSION ${NVINFER_MAJOR}
                                   LIBRARY_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/play)

add_library(maskline_triton SHARED framework/triton_shim.cpp)
target_link_libraries(maskline_triton PRIVATE maskline_nvinfer_headers ${CMAKE_DL_LIBS})
if(MASKLINE_NVINFER)
  target_link_libraries(maskline_triton PRIVATE ${MASKLINE_NVINFER})
else()
  target_link_libraries(maskline_triton PRIVATE maskline_play_nvinfer)
endif()
# Never unloaded, for TensorRT keeps what it registered; no path to a libnvinfer inside, for the process has its own.
show_only(maskline_triton nothing)
target_link_options(maskline_triton PRIVATE -Wl,-z,nodelete)
set_target_properties(maskline_triton PROPERTIES SKIP_BUILD_RPATH ON)
add_dependencies(maskline_triton maskline_trt)

file(GLOB_RECURSE HARNESS_SOURCES CONFIGURE_DEPENDS testing/harness/*.cpp)
list(FILTER HARNESS_SOURCES EXCLUDE REGEX "(played/nvinfer|faulty_launches)\\.cpp$")
add_executable(maskline_harness ${HARNESS_SOURCES})
target_link_libraries(
  maskline_harness PRIVATE maskline_nvinfer_headers maskline_host CUDA::cudart_static Threads::Threads ${CMAKE_DL_LIBS})
set_target_properties(maskline_harness PROPERTIES BUILD_RPATH "$ORIGIN" BUILD_WITH_INSTALL_RPATH OFF)
