// What the shaders know of the frame: four numbers a row, by names that scene.py gives (Row).
const float PI = 3.14159265358979;
uniform vec4 told[ROWS];
