/* banned: calls that have no safe use here fail to compile. Included before every C file. */
#ifndef TOCSIN_BANNED_H
#define TOCSIN_BANNED_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define TSN_BANNED(name) tsn_banned_##name##_see_src_base_banned_h

#undef strcpy
#define strcpy TSN_BANNED(strcpy)
#undef strcat
#define strcat TSN_BANNED(strcat)
#undef strncpy
#define strncpy TSN_BANNED(strncpy)
#undef strncat
#define strncat TSN_BANNED(strncat)
#undef sprintf
#define sprintf TSN_BANNED(sprintf)
#undef vsprintf
#define vsprintf TSN_BANNED(vsprintf)
#undef strtok
#define strtok TSN_BANNED(strtok)
#undef gmtime
#define gmtime TSN_BANNED(gmtime)
#undef localtime
#define localtime TSN_BANNED(localtime)
#undef ctime
#define ctime TSN_BANNED(ctime)
#undef asctime
#define asctime TSN_BANNED(asctime)
#undef atoi
#define atoi TSN_BANNED(atoi)
#undef atol
#define atol TSN_BANNED(atol)
#undef atof
#define atof TSN_BANNED(atof)

#endif
