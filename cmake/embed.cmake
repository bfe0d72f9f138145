# Writes the bytes of INPUT as C initializers to OUTPUT: cmake -DINPUT=a -DOUTPUT=b -P embed.cmake
file(READ "${INPUT}" bytes HEX)
string(REGEX REPLACE "(..)" "0x\\1," bytes "${bytes}")
string(REGEX REPLACE "(................................................................................)"
       "\\1\n" bytes "${bytes}")
file(WRITE "${OUTPUT}" "${bytes}\n")
