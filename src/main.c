#include "qgalore/app.h"

int main(int argc, char **argv) { return (int)qg_app_main(argc, argv); }
