/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Checksums of secrets and of personal numbers. Where a country's numbers carry
 * a date, the date must be one; which numbers were given out nobody tells.
 */
#include "plainsight_secrets.h"

#include <ctype.h>
#include <math.h>
#include <string.h>
#include <strings.h>
#include <zlib.h>

#include "secret_decode.h"

enum { DIGITS_MAX = 40 };

/* A number without its separators. */
struct plain {
	char text[DIGITS_MAX + 1];
	size_t len;
	bool is_digits;
};

/* Letters in upper case. Empty when it is too long or has other characters. */
static struct plain plain_of(const char *text, size_t len)
{
	struct plain plain = {.is_digits = true};

	for (size_t i = 0; i < len; i++) {
		unsigned char c = (unsigned char)text[i];

		if (c == ' ' || c == '-' || c == '.' || c == '/')
			continue;
		if (!isalnum(c) || c >= 0x80 || plain.len == DIGITS_MAX)
			return (struct plain){.is_digits = false};
		plain.is_digits &= c >= '0' && c <= '9';
		plain.text[plain.len++] = (char)toupper(c);
	}
	return plain;
}

static int digit(const struct plain *plain, size_t i)
{
	return plain->text[i] - '0';
}

static bool is_digits(const struct plain *plain, size_t len)
{
	return plain->is_digits && plain->len == len;
}

static bool all_digits(const char *text, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (text[i] < '0' || text[i] > '9')
			return false;
	return true;
}

static long number(const char *text, size_t len)
{
	long value = 0;

	for (size_t i = 0; i < len; i++)
		value = value * 10 + (text[i] - '0');
	return value;
}

static bool is_one_digit(const struct plain *plain)
{
	return strspn(plain->text, (char[2]){plain->text[0], 0}) == plain->len;
}

static bool is_date(long day, long month)
{
	static const int8_t days[] = {31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};

	return month >= 1 && month <= 12 && day >= 1 && day <= days[month - 1];
}

/* Sum of digits times weights. */
static int weighed(const struct plain *plain, const int8_t *weights, size_t count)
{
	int sum = 0;

	for (size_t i = 0; i < count; i++)
		sum += digit(plain, i) * weights[i];
	return sum;
}

static bool luhn_of(const char *text, size_t len)
{
	int sum = 0;

	for (size_t i = 0; i < len; i++) {
		int value = text[len - 1 - i] - '0';

		if (i % 2 == 1)
			value = value > 4 ? value * 2 - 9 : value * 2;
		sum += value;
	}
	return sum % 10 == 0;
}

static bool check_luhn(const struct plain *plain)
{
	return plain->is_digits && plain->len >= 2 && !is_one_digit(plain) && luhn_of(plain->text, plain->len);
}

/* First digits and lengths of the networks' cards (ISO/IEC 7812-1 issuer identification numbers). */
static bool check_payment_card(const struct plain *plain)
{
	static const struct {
		int16_t first, last;
		uint8_t len_min, len_max;
	} ranges[] = {
	    {3000, 3059, 14, 19}, {3095, 3095, 14, 19}, {3400, 3499, 15, 15}, {3528, 3589, 16, 19},
	    {3600, 3699, 14, 19}, {3700, 3799, 15, 15}, {3800, 3999, 14, 19}, {4000, 4999, 13, 19},
	    {5018, 5018, 12, 19}, {5020, 5020, 12, 19}, {5038, 5038, 12, 19}, {5100, 5599, 16, 16},
	    {5893, 5893, 12, 19}, {6011, 6011, 16, 19}, {6200, 6299, 16, 19}, {6304, 6304, 12, 19},
	    {6440, 6599, 16, 19}, {6759, 6763, 12, 19}, {2200, 2204, 16, 19}, {2221, 2720, 16, 16},
	    {8100, 8171, 16, 19},
	};
	long first;

	if (!check_luhn(plain) || plain->len < 12)
		return false;
	first = number(plain->text, 4);
	for (size_t i = 0; i < sizeof(ranges) / sizeof(ranges[0]); i++)
		if (first >= ranges[i].first && first <= ranges[i].last)
			return plain->len >= ranges[i].len_min && plain->len <= ranges[i].len_max &&
			       (ranges[i].first != 4000 || plain->len % 3 == 1);
	return false;
}

static int letter_value(char c)
{
	return c <= '9' ? c - '0' : c - 'A' + 10;
}

/* Lengths as in the registry of ISO 13616. */
static bool check_iban(const struct plain *plain)
{
	static const char lengths[] =
	    "AD24AE23AL28AT20AZ28BA20BE16BG22BH22BI27BR29BY28CH21CR22CY28CZ24DE22DJ27DK18DO28EE20EG29ES24FI18FK18FO18"
	    "FR27GB22GE22GI23GL18GR27GT28HR21HU28IE22IL23IQ23IS26IT27JO30KW30KZ20LB28LC32LI21LT20LU20LV21LY25MC27MD24"
	    "ME22MK19MN20MR27MT31MU30NI28NL18NO15OM23PK24PL28PS29PT25QA29RO24RS22RU33SA24SC31SD18SE24SI19SK24SM27SO23"
	    "ST25SV28TL23TN24TR26UA29VA22VG24XK20YE30";
	int rest = 0;

	if (plain->len < 15)
		return false;
	for (const char *at = lengths; *at; at += 4) {
		if (memcmp(at, plain->text, 2) != 0)
			continue;
		if ((size_t)number(at + 2, 2) != plain->len)
			return false;
		for (size_t i = 0; i < plain->len; i++) {
			int value = letter_value(plain->text[(i + 4) % plain->len]);

			rest = (rest * (value > 9 ? 100 : 10) + value) % 97;
		}
		return rest == 1;
	}
	return false;
}

static bool check_es_dni(const struct plain *plain)
{
	char digits[9];
	char first = plain->text[0];

	if (plain->len != 9 || plain->is_digits)
		return false;
	memcpy(digits, plain->text, 8);
	if (first >= 'X' && first <= 'Z')
		digits[0] = (char)('0' + (first - 'X'));
	return all_digits(digits, 8) && plain->text[8] == "TRWAGMYFPDXBNJZSQVHLCKE"[number(digits, 8) % 23];
}

static bool check_fr_nir(const struct plain *plain)
{
	char digits[DIGITS_MAX + 1];
	long less = 0, month;

	if (plain->len != 15)
		return false;
	memcpy(digits, plain->text, 16);
	if (digits[5] == '2' && (digits[6] == 'A' || digits[6] == 'B')) { /* Corsica */
		less = digits[6] == 'A' ? 1000000 : 2000000;
		digits[6] = '0';
	}
	if (!all_digits(digits, 15) || strchr("123478", digits[0]) == NULL)
		return false;
	month = number(digits + 3, 2);
	if (month == 0 || (month > 12 && month < 20) || (month > 42 && month < 50))
		return false;
	return 97 - (number(digits, 13) - less) % 97 == number(digits + 13, 2);
}

static bool check_de_tax(const struct plain *plain)
{
	int counts[10] = {0}, twice = 0, thrice = 0, product = 10;

	if (!is_digits(plain, 11) || plain->text[0] == '0')
		return false;
	for (size_t i = 0; i < 10; i++)
		counts[digit(plain, i)]++;
	for (int i = 0; i < 10; i++) {
		twice += counts[i] == 2;
		thrice += counts[i] == 3;
		if (counts[i] > 3)
			return false;
	}
	if (twice + thrice != 1)
		return false;
	for (size_t i = 0; i < 10; i++) { /* ISO/IEC 7064, mod 11,10 */
		int sum = (digit(plain, i) + product) % 10;

		product = (sum == 0 ? 10 : sum) * 2 % 11;
	}
	return (11 - product) % 10 == digit(plain, 10);
}

static bool check_nl_bsn(const struct plain *plain)
{
	static const int8_t weights[] = {9, 8, 7, 6, 5, 4, 3, 2, -1};

	return is_digits(plain, 9) && !is_one_digit(plain) && weighed(plain, weights, 9) % 11 == 0;
}

static bool check_pl_pesel(const struct plain *plain)
{
	static const int8_t weights[] = {1, 3, 7, 9, 1, 3, 7, 9, 1, 3, 1};

	return is_digits(plain, 11) && is_date(number(plain->text + 4, 2), number(plain->text + 2, 2) % 20) &&
	       weighed(plain, weights, 11) % 10 == 0;
}

static bool check_be_national(const struct plain *plain)
{
	long base, rest;

	if (!is_digits(plain, 11) || number(plain->text + 2, 2) % 20 > 12 || number(plain->text + 4, 2) > 31)
		return false;
	base = number(plain->text, 9);
	rest = number(plain->text + 9, 2);
	return rest > 0 && (97 - base % 97 == rest || 97 - (2000000000L + base) % 97 == rest);
}

static bool check_uk_nhs(const struct plain *plain)
{
	static const int8_t weights[] = {10, 9, 8, 7, 6, 5, 4, 3, 2, 1};

	return is_digits(plain, 10) && !is_one_digit(plain) && weighed(plain, weights, 10) % 11 == 0;
}

static int mod11_digit(int sum)
{
	return sum % 11 < 2 ? 0 : 11 - sum % 11;
}

static bool check_br_cpf(const struct plain *plain)
{
	static const int8_t weights[] = {11, 10, 9, 8, 7, 6, 5, 4, 3, 2};

	return is_digits(plain, 11) && !is_one_digit(plain) &&
	       mod11_digit(weighed(plain, weights + 1, 9)) == digit(plain, 9) &&
	       mod11_digit(weighed(plain, weights, 10)) == digit(plain, 10);
}

static bool check_br_cnpj(const struct plain *plain)
{
	static const int8_t weights[] = {6, 5, 4, 3, 2, 9, 8, 7, 6, 5, 4, 3, 2};

	return is_digits(plain, 14) && !is_one_digit(plain) &&
	       mod11_digit(weighed(plain, weights + 1, 12)) == digit(plain, 12) &&
	       mod11_digit(weighed(plain, weights, 13)) == digit(plain, 13);
}

/* DDMMYY, a sign of the century (that plain_of() may have dropped), three digits, a check character. */
static bool check_fi_hetu(const char *text, size_t len)
{
	char digits[10];

	if (len != 11 || strchr("+-ABCDEFUVWXY", toupper((unsigned char)text[6])) == NULL || text[6] == 0)
		return false;
	memcpy(digits, text, 6);
	memcpy(digits + 6, text + 7, 3);
	return all_digits(digits, 9) && is_date(number(digits, 2), number(digits + 2, 2)) &&
	       number(digits + 6, 3) >= 2 &&
	       toupper((unsigned char)text[10]) == "0123456789ABCDEFHJKLMNPRSTUVWXY"[number(digits, 9) % 31];
}

static bool check_se_person(const char *text, size_t len)
{
	struct plain plain = {.len = 0};
	const char *at;

	for (size_t i = 0; i < len && plain.len < DIGITS_MAX; i++)
		if (text[i] != '-' && text[i] != '+' && text[i] != ' ')
			plain.text[plain.len++] = text[i];
	if ((plain.len != 10 && plain.len != 12) || !all_digits(plain.text, plain.len))
		return false;
	at = plain.text + plain.len - 10;
	return is_date(number(at + 4, 2) % 60, number(at + 2, 2)) && luhn_of(at, 10);
}

static bool check_no_fnr(const struct plain *plain)
{
	static const int8_t first[] = {3, 7, 6, 1, 8, 9, 4, 5, 2, 1};
	static const int8_t second[] = {5, 4, 3, 2, 7, 6, 5, 4, 3, 2, 1};

	return is_digits(plain, 11) && is_date(number(plain->text, 2) % 40, number(plain->text + 2, 2) % 40) &&
	       weighed(plain, first, 10) % 11 == 0 && weighed(plain, second, 11) % 11 == 0;
}

static bool check_dk_cpr(const struct plain *plain)
{
	static const int8_t weights[] = {4, 3, 2, 7, 6, 5, 4, 3, 2, 1};

	return is_digits(plain, 10) && is_date(number(plain->text, 2), number(plain->text + 2, 2)) &&
	       weighed(plain, weights, 10) % 11 == 0;
}

/* Decree of the Ministry of Finance of 23 December 1976; letters stand for digits where two people share a code. */
static bool check_it_cf(const struct plain *plain)
{
	static const uint8_t odd[] = {1,  0,  5, 7, 9, 13, 15, 17, 19, 21, 2,  4,  18,
				      20, 11, 3, 6, 8, 12, 14, 16, 10, 22, 25, 24, 23};
	int sum = 0;

	if (plain->len != 16 || !isalpha((unsigned char)plain->text[0]) || !isalpha((unsigned char)plain->text[15]) ||
	    strchr("ABCDEHLMPRST", plain->text[8]) == NULL)
		return false;
	for (size_t i = 0; i < 15; i++) {
		char c = plain->text[i];
		int value = c <= '9' ? c - '0' : c - 'A';

		sum += i % 2 == 0 ? odd[value] : value;
	}
	return sum % 26 == plain->text[15] - 'A';
}

/* J. Verhoeff, Error Detecting Decimal Codes, 1969. */
static bool check_in_aadhaar(const struct plain *plain)
{
	static const char permuted[8][11] = {"0123456789", "1576283094", "5803796142", "8916043527",
					     "9453126870", "4286573901", "2793806415", "7046913258"};
	int state = 0;

	if (!is_digits(plain, 12) || plain->text[0] < '2')
		return false;
	for (size_t i = 0; i < 12; i++) {
		int value = permuted[i % 8][digit(plain, 11 - i)] - '0';

		/* Multiplication in the dihedral group D5. */
		if (state < 5)
			state = value < 5 ? (state + value) % 5 : 5 + (state + value - 5) % 5;
		else
			state = value < 5 ? 5 + (state - 5 + 5 - value) % 5 : (state - 5 + 5 - (value - 5)) % 5;
	}
	return state == 0;
}

/* GB 11643-1999: ISO 7064 mod 11-2. */
static bool check_cn_id(const struct plain *plain)
{
	static const int8_t weights[] = {7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2};
	long year;

	if (plain->len != 18 || !all_digits(plain->text, 17) || plain->text[0] == '0')
		return false;
	year = number(plain->text + 6, 4);
	return year >= 1880 && year < 2100 && is_date(number(plain->text + 12, 2), number(plain->text + 10, 2)) &&
	       plain->text[17] == "10X98765432"[weighed(plain, weights, 17) % 11];
}

static bool check_us_ssn(const struct plain *plain)
{
	long area;

	if (!is_digits(plain, 9))
		return false;
	area = number(plain->text, 3);
	return area != 0 && area != 666 && area < 900 && number(plain->text + 3, 2) != 0 &&
	       number(plain->text + 5, 4) != 0 && !is_one_digit(plain) && strcmp(plain->text, "123456789") != 0 &&
	       strcmp(plain->text, "078051120") != 0 && strcmp(plain->text, "219099999") != 0;
}

static bool check_ca_sin(const struct plain *plain)
{
	return is_digits(plain, 9) && plain->text[0] != '0' && plain->text[0] != '8' && check_luhn(plain);
}

static bool check_au_tfn(const struct plain *plain)
{
	static const int8_t weights[] = {1, 4, 3, 7, 5, 8, 6, 9, 10};

	return is_digits(plain, 9) && !is_one_digit(plain) && weighed(plain, weights, 9) % 11 == 0;
}

static bool check_pt_nif(const struct plain *plain)
{
	static const int8_t weights[] = {9, 8, 7, 6, 5, 4, 3, 2};

	return is_digits(plain, 9) && strchr("1235689", plain->text[0]) != NULL && !is_one_digit(plain) &&
	       mod11_digit(weighed(plain, weights, 8)) == digit(plain, 8);
}

static bool check_ch_ahv(const struct plain *plain)
{
	static const int8_t weights[] = {1, 3, 1, 3, 1, 3, 1, 3, 1, 3, 1, 3, 1};

	return is_digits(plain, 13) && memcmp(plain->text, "756", 3) == 0 && weighed(plain, weights, 13) % 10 == 0;
}

static bool check_us_aba(const struct plain *plain)
{
	static const int8_t weights[] = {3, 7, 1, 3, 7, 1, 3, 7, 1};
	long bank;

	if (!is_digits(plain, 9) || is_one_digit(plain))
		return false;
	bank = number(plain->text, 2);
	return (bank <= 12 || (bank >= 21 && bank <= 32) || (bank >= 61 && bank <= 72) || bank == 80) &&
	       weighed(plain, weights, 9) % 10 == 0;
}

static bool check_tr_id(const struct plain *plain)
{
	int odd = 0, even = 0;

	if (!is_digits(plain, 11) || plain->text[0] == '0')
		return false;
	for (size_t i = 0; i < 9; i++)
		*(i % 2 == 0 ? &odd : &even) += digit(plain, i);
	return (odd * 7 - even + 100) % 10 == digit(plain, 9) &&
	       (odd + even + digit(plain, 9)) % 10 == digit(plain, 10);
}

/* The header's JSON names its algorithm (RFC 7515 4.1.1). */
static bool check_jwt(const char *text, size_t len)
{
	char header[1024];
	const char *dot = memchr(text, '.', len);
	size_t part = dot ? (size_t)(dot - text) : len, got;

	if (part < 8 || part > 1360)
		return false;
	got = secret_base64(text, part, header, sizeof(header));
	return got >= 2 && header[0] == '{' && memmem(header, got, "\"alg\"", 5) != NULL;
}

static bool check_basic(const char *text, size_t len)
{
	char pair[1024];
	size_t got = len <= 1360 ? secret_base64(text, len, pair, sizeof(pair)) : 0;
	const char *colon = got ? memchr(pair, ':', got) : NULL;

	if (!colon || colon + 1 == pair + got)
		return false;
	for (size_t i = 0; i < got; i++)
		if ((unsigned char)pair[i] < 0x20 || pair[i] == 0x7f)
			return false;
	return true;
}

/* https://github.blog/engineering/behind-githubs-new-authentication-token-formats/ */
static bool check_crc32_base62(const char *text, size_t len)
{
	static const char alphabet[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
	const char *prefix = memrchr(text, '_', len);
	const char *begin = prefix ? prefix + 1 : text;
	uint64_t wanted = 0;

	if (text + len - begin < 8)
		return false;
	for (const char *at = text + len - 6; at < text + len; at++) {
		const char *place = *at ? strchr(alphabet, *at) : NULL;

		if (!place)
			return false;
		wanted = wanted * 62 + (uint64_t)(place - alphabet);
	}
	return wanted == crc32(0, (const unsigned char *)begin, (unsigned)(text + len - 6 - begin));
}

typedef bool (*number_check)(const struct plain *plain);
typedef bool (*text_check)(const char *text, size_t len);

static const struct {
	const char *name;
	number_check of_number;
	text_check of_text;
} checks[PS_CHECK_COUNT] = {
    [PS_CHECK_NONE] = {"none", NULL, NULL},
    [PS_CHECK_LUHN] = {"luhn", check_luhn, NULL},
    [PS_CHECK_IBAN] = {"iban", check_iban, NULL},
    [PS_CHECK_JWT] = {"jwt", NULL, check_jwt},
    [PS_CHECK_CRC32_BASE62] = {"crc32-base62", NULL, check_crc32_base62},
    [PS_CHECK_ES_DNI] = {"es-dni", check_es_dni, NULL},
    [PS_CHECK_FR_NIR] = {"fr-nir", check_fr_nir, NULL},
    [PS_CHECK_DE_TAX] = {"de-tax", check_de_tax, NULL},
    [PS_CHECK_NL_BSN] = {"nl-bsn", check_nl_bsn, NULL},
    [PS_CHECK_PL_PESEL] = {"pl-pesel", check_pl_pesel, NULL},
    [PS_CHECK_BE_NATIONAL] = {"be-national", check_be_national, NULL},
    [PS_CHECK_UK_NHS] = {"uk-nhs", check_uk_nhs, NULL},
    [PS_CHECK_BR_CPF] = {"br-cpf", check_br_cpf, NULL},
    [PS_CHECK_BR_CNPJ] = {"br-cnpj", check_br_cnpj, NULL},
    [PS_CHECK_FI_HETU] = {"fi-hetu", NULL, check_fi_hetu},
    [PS_CHECK_SE_PERSON] = {"se-person", NULL, check_se_person},
    [PS_CHECK_NO_FNR] = {"no-fnr", check_no_fnr, NULL},
    [PS_CHECK_DK_CPR] = {"dk-cpr", check_dk_cpr, NULL},
    [PS_CHECK_IT_CF] = {"it-cf", check_it_cf, NULL},
    [PS_CHECK_IN_AADHAAR] = {"in-aadhaar", check_in_aadhaar, NULL},
    [PS_CHECK_CN_ID] = {"cn-id", check_cn_id, NULL},
    [PS_CHECK_US_SSN] = {"us-ssn", check_us_ssn, NULL},
    [PS_CHECK_CA_SIN] = {"ca-sin", check_ca_sin, NULL},
    [PS_CHECK_AU_TFN] = {"au-tfn", check_au_tfn, NULL},
    [PS_CHECK_PT_NIF] = {"pt-nif", check_pt_nif, NULL},
    [PS_CHECK_CH_AHV] = {"ch-ahv", check_ch_ahv, NULL},
    [PS_CHECK_US_ABA] = {"us-aba", check_us_aba, NULL},
    [PS_CHECK_TR_ID] = {"tr-id", check_tr_id, NULL},
    [PS_CHECK_PAYMENT_CARD] = {"payment-card", check_payment_card, NULL},
    [PS_CHECK_BASIC] = {"basic", NULL, check_basic},
};

bool ps_secret_check(uint32_t check, const char *text, size_t len)
{
	struct plain plain;

	if (check == PS_CHECK_NONE)
		return true;
	if (check >= PS_CHECK_COUNT)
		return false;
	if (checks[check].of_text)
		return checks[check].of_text(text, len);
	plain = plain_of(text, len);
	return plain.len > 0 && checks[check].of_number(&plain);
}

int32_t ps_secret_check_by_name(const char *name)
{
	for (int32_t i = 0; i < PS_CHECK_COUNT; i++)
		if (strcmp(checks[i].name, name) == 0)
			return i;
	return -1;
}

const char *ps_secret_check_name(uint32_t check)
{
	return check < PS_CHECK_COUNT ? checks[check].name : NULL;
}

double ps_secret_entropy(const char *text, size_t len)
{
	uint32_t counts[256] = {0};
	double entropy = 0;

	for (size_t i = 0; i < len; i++)
		counts[(unsigned char)text[i]]++;
	for (int i = 0; i < 256; i++) {
		if (counts[i] > 0) {
			double share = counts[i] / (double)len;

			entropy -= share * log2(share);
		}
	}
	return entropy;
}
