#include "common/host/box_math_avx512.h"
#include "common/host/nms.h"

#include <cstddef>
#include <cstdint>
#include <immintrin.h>

namespace maskline
{

std::size_t greedyNmsAvx512(float const* const* boxes, std::size_t count, float thresh, std::size_t limit,
    float* const* keptBoxes, std::uint32_t* kept)
{
    std::size_t found = 0;
    __m512 const bound = _mm512_set1_ps(thresh);
    for (std::size_t i = 0; i < count && found < limit; ++i)
    {
        Boxes16 const box{_mm512_set1_ps(boxes[0][i]), _mm512_set1_ps(boxes[1][i]), _mm512_set1_ps(boxes[2][i]),
            _mm512_set1_ps(boxes[3][i])};
        __m512 const area = _mm512_set1_ps(boxes[4][i]);
        bool alive = true;
        for (std::size_t k = 0; k < found && alive; k += 16)
        {
            Boxes16 const chosen{_mm512_loadu_ps(keptBoxes[0] + k), _mm512_loadu_ps(keptBoxes[1] + k),
                _mm512_loadu_ps(keptBoxes[2] + k), _mm512_loadu_ps(keptBoxes[3] + k)};
            __mmask16 const over = overlaps(chosen, _mm512_loadu_ps(keptBoxes[4] + k), box, area, bound);
            alive = (over & firstLanes(static_cast<std::int64_t>(found - k))) == 0;
        }
        if (alive)
        {
            for (int column = 0; column < 5; ++column)
            {
                keptBoxes[column][found] = boxes[column][i];
            }
            kept[found++] = static_cast<std::uint32_t>(i);
        }
    }
    return found;
}

} // namespace maskline
