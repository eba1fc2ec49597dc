// Its distance is all that counts.
void main() {}
