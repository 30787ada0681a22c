# SPDX-License-Identifier: Apache-2.0
"""Personal data made at random, with the check digits that their issuers define.

PERSONAL maps the id of a rule to (names of fields, function(Random) -> value).
"""

from .tokens import DIGITS, UPPER, chars


def luhn_digit(digits):
    """ISO/IEC 7812-1, annex B."""
    total = 0
    for i, digit in enumerate(reversed(digits)):
        value = int(digit) * (2 if i % 2 == 0 else 1)
        total += value - 9 if value > 9 else value
    return str(-total % 10)


def grouped(text, *sizes, sep=" "):
    parts, at = [], 0
    for size in sizes:
        parts.append(text[at : at + size])
        at += size
    return sep.join(parts + ([text[at:]] if text[at:] else []))


CARDS = [
    ("4", 16),
    ("51", 16),
    ("55", 16),
    ("2223", 16),
    ("34", 15),
    ("37", 15),
    ("6011", 16),
    ("65", 16),
    ("3530", 16),
    ("36", 14),
]


def card(rng):
    prefix, size = rng.choice(CARDS)
    body = prefix + chars(rng, DIGITS, size - 1 - len(prefix))
    number = body + luhn_digit(body)
    style = rng.random()
    if style < 0.6 or size == 14:
        return number
    sep = " " if style < 0.8 else "-"
    return grouped(number, 4, 6, sep=sep) if size == 15 else grouped(number, 4, 4, 4, sep=sep)


IBANS = {
    "DE": "n18",
    "GB": "a4n14",
    "FR": "n10c11n2",
    "NL": "a4n10",
    "ES": "n20",
    "IT": "a1n10c12",
    "CH": "n5c12",
    "PL": "n24",
    "BE": "n12",
    "AT": "n16",
    "SE": "n20",
    "PT": "n21",
    "IE": "a4n14",
    "NO": "n11",
}


def iban(rng):
    import re

    country = rng.choice(sorted(IBANS))
    bban = "".join(
        chars(rng, {"n": DIGITS, "a": UPPER, "c": DIGITS + UPPER}[kind], int(count))
        for kind, count in re.findall(r"([nac])(\d+)", IBANS[country])
    )
    number = int("".join(str(int(c, 36)) for c in bban + country + "00"))
    text = f"{country}{98 - number % 97:02d}{bban}"
    return grouped(text, *[4] * (len(text) // 4)) if rng.random() < 0.4 else text


FIRST = [
    "anna",
    "ben",
    "carla",
    "david",
    "elif",
    "femi",
    "grace",
    "hugo",
    "ines",
    "jonas",
    "kim",
    "lea",
    "marco",
    "nora",
    "omar",
    "paula",
    "quinn",
    "rosa",
    "sven",
    "tara",
]
LAST = [
    "abel",
    "bauer",
    "castro",
    "dupont",
    "ekberg",
    "fischer",
    "garcia",
    "huber",
    "ivanova",
    "jansen",
    "kowalski",
    "lopez",
    "meyer",
    "novak",
    "okafor",
    "petrov",
    "rossi",
    "schmidt",
    "tanaka",
    "weber",
]
MAIL_HOSTS = [
    "gmail.com",
    "outlook.com",
    "web.de",
    "orange.fr",
    "posteo.net",
    "uni-nord.de",
    "firma-ag.ch",
    "mail.coop-bank.co.uk",
    "yahoo.co.jp",
    "proton.me",
    "kanzlei-west.at",
    "corp.northwind-traders.io",
]


def email(rng):
    local = rng.choice([".", "_", "", "-"]).join([rng.choice(FIRST), rng.choice(LAST)])
    return local + rng.choice(["", "", str(rng.randrange(99)), "+shop"]) + "@" + rng.choice(MAIL_HOSTS)


def phone(rng):
    return rng.choice(
        [
            lambda: f"+1 {rng.randrange(201, 990)} {rng.randrange(200, 999)} {rng.randrange(10000):04d}",
            lambda: f"+1{rng.randrange(201, 990)}{rng.randrange(200, 999)}{rng.randrange(10000):04d}",
            lambda: f"+49 {rng.choice(['30', '89', '151', '40'])} {rng.randrange(10**6, 10**8)}",
            lambda: f"+44 7{rng.randrange(100, 999)} {rng.randrange(10**6):06d}",
            lambda: "+33 6 " + " ".join(f"{rng.randrange(100):02d}" for _ in range(4)),
            lambda: f"+48{rng.randrange(500, 899)}{rng.randrange(10**6):06d}",
            lambda: f"+39 02 {rng.randrange(10**6, 10**8)}",
            lambda: f"+81-90-{rng.randrange(1000, 9999)}-{rng.randrange(10000):04d}",
            lambda: f"({rng.randrange(201, 990)}) {rng.randrange(200, 999)}-{rng.randrange(10000):04d}",
            lambda: f"{rng.randrange(201, 990)}-{rng.randrange(200, 999)}-{rng.randrange(10000):04d}",
            lambda: f"0{rng.choice(['30', '89', '171'])}{rng.randrange(10**6, 10**8)}",
        ]
    )()


def weighted(digits, weights):
    return sum(int(d) * w for d, w in zip(digits, weights))


def until(make):
    """The first value that is not None: some numbers have no check digit."""

    def result(rng):
        while True:
            value = make(rng)
            if value:
                return value

    return result


def date6(rng, order="dmy"):
    day, month, year = rng.randrange(1, 29), rng.randrange(1, 13), rng.randrange(40, 99)
    return "".join(f"{ {'d': day, 'm': month, 'y': year}[k]:02d}" for k in order)


def ssn(rng):
    area = rng.choice([rng.randrange(1, 666), rng.randrange(667, 900)])
    return f"{area:03d}-{rng.randrange(1, 100):02d}-{rng.randrange(1, 10000):04d}"


def sin(rng):
    body = rng.choice("12345679") + chars(rng, DIGITS, 7)
    return rng.choice([lambda n: n, lambda n: grouped(n, 3, 3)])(body + luhn_digit(body))


@until
def de_tax(rng):
    """Ten digits of which exactly one stands twice; ISO 7064 mod 11,10."""
    digits = rng.sample(DIGITS, 9)
    digits.insert(rng.randrange(10), rng.choice(digits))
    if digits[0] == "0":
        return None
    product = 10
    for digit in digits:
        total = (int(digit) + product) % 10 or 10
        product = total * 2 % 11
    text = "".join(digits) + str((11 - product) % 10)
    return grouped(text, 2, 3, 3) if rng.random() < 0.3 else text


def fr_nir(rng):
    body = (
        f"{rng.choice('12')}{rng.randrange(40, 99):02d}{rng.randrange(1, 13):02d}{rng.randrange(1, 95):02d}"
        f"{rng.randrange(1, 990):03d}{rng.randrange(1, 1000):03d}"
    )
    text = f"{body}{97 - int(body) % 97:02d}"
    return grouped(text, 1, 2, 2, 2, 3, 3) if rng.random() < 0.3 else text


ODD = {c: v for c, v in zip("0123456789", [1, 0, 5, 7, 9, 13, 15, 17, 19, 21])}
ODD.update(
    zip(
        "ABCDEFGHIJKLMNOPQRSTUVWXYZ",
        [1, 0, 5, 7, 9, 13, 15, 17, 19, 21, 2, 4, 18, 20, 11, 3, 6, 8, 12, 14, 16, 10, 22, 25, 24, 23],
    )
)


def codice_fiscale(rng):
    body = (
        chars(rng, "BCDFGLMNPRST", 3)
        + chars(rng, "BCDFGLMNPRST", 3)
        + f"{rng.randrange(40, 99):02d}"
        + rng.choice("ABCDEHLMPRST")
        + f"{rng.choice([0, 40]) + rng.randrange(1, 29):02d}"
        + rng.choice("ABCDEFGHIL")
        + f"{rng.randrange(1, 999):03d}"
    )
    total = 0
    for i, char in enumerate(body):
        even = int(char) if char.isdigit() else ord(char) - 65
        total += ODD[char] if i % 2 == 0 else even
    return body + chr(65 + total % 26)


def es_dni(rng):
    number = rng.randrange(10**6, 10**8)
    if rng.random() < 0.3:
        prefix, number = rng.randrange(3), number % 10**7
        return "XYZ"[prefix] + f"{number:07d}" + "TRWAGMYFPDXBNJZSQVHLCKE"[int(f"{prefix}{number:07d}") % 23]
    return f"{number:08d}" + "TRWAGMYFPDXBNJZSQVHLCKE"[number % 23]


@until
def bsn(rng):
    body = rng.choice("123456789") + chars(rng, DIGITS, 7)
    check = weighted(body, [9, 8, 7, 6, 5, 4, 3, 2]) % 11
    return body + str(check) if check < 10 else None


def be_national(rng):
    body = date6(rng, "ymd") + f"{rng.randrange(1, 998):03d}"
    text = f"{body}{97 - int(body) % 97:02d}"
    return rng.choice([text, f"{text[:2]}.{text[2:4]}.{text[4:6]}-{text[6:9]}.{text[9:]}"])


def pesel(rng):
    body = date6(rng, "ymd") + chars(rng, DIGITS, 4)
    return body + str(-weighted(body, [1, 3, 7, 9, 1, 3, 7, 9, 1, 3]) % 10)


@until
def nhs(rng):
    body = rng.choice("456") + chars(rng, DIGITS, 8)
    check = -weighted(body, range(10, 1, -1)) % 11
    if check == 10:
        return None
    return grouped(body + str(check), 3, 3) if rng.random() < 0.5 else body + str(check)


def cpf(rng):
    text = chars(rng, DIGITS, 9)
    for size in (10, 11):
        rest = weighted(text, range(size, 1, -1)) * 10 % 11
        text += str(rest % 10)
    return rng.choice([text, f"{text[:3]}.{text[3:6]}.{text[6:9]}-{text[9:]}"])


def hetu(rng):
    day, number = date6(rng, "dmy"), f"{rng.randrange(2, 900):03d}"
    return day + "-" + number + "0123456789ABCDEFHJKLMNPRSTUVWXY"[int(day + number) % 31]


def personnummer(rng):
    body = date6(rng, "ymd") + chars(rng, DIGITS, 3)
    text = body + luhn_digit(body)
    return rng.choice([text[:6] + "-" + text[6:], "19" + text[:6] + "-" + text[6:], "19" + text])


@until
def fodselsnummer(rng):
    body = date6(rng, "dmy") + f"{rng.randrange(0, 500):03d}"
    first = -weighted(body, [3, 7, 6, 1, 8, 9, 4, 5, 2]) % 11
    if first == 10:
        return None
    second = -weighted(body + str(first), [5, 4, 3, 2, 7, 6, 5, 4, 3, 2]) % 11
    return body + str(first) + str(second) if second < 10 else None


@until
def cpr(rng):
    body = date6(rng, "dmy") + rng.choice("0123") + chars(rng, DIGITS, 2)
    check = -weighted(body, [4, 3, 2, 7, 6, 5, 4, 3, 2]) % 11
    return body[:6] + rng.choice(["-", ""]) + body[6:] + str(check) if check < 10 else None


def ahv(rng):
    body = "756" + chars(rng, DIGITS, 9)
    text = body + str(-weighted(body, [1, 3] * 6) % 10)
    return rng.choice([text, f"{text[:3]}.{text[3:7]}.{text[7:11]}.{text[11:]}"])


def nif(rng):
    body = rng.choice("125") + chars(rng, DIGITS, 7)
    check = 11 - weighted(body, range(9, 1, -1)) % 11
    return body + str(check if check < 10 else 0)


def turkish_id(rng):
    body = rng.choice("123456789") + chars(rng, DIGITS, 8)
    digits = [int(c) for c in body]
    tenth = (7 * sum(digits[0::2]) - sum(digits[1::2])) % 10
    return body + str(tenth) + str((sum(digits) + tenth) % 10)


D = [
    [0, 1, 2, 3, 4, 5, 6, 7, 8, 9],
    [1, 2, 3, 4, 0, 6, 7, 8, 9, 5],
    [2, 3, 4, 0, 1, 7, 8, 9, 5, 6],
    [3, 4, 0, 1, 2, 8, 9, 5, 6, 7],
    [4, 0, 1, 2, 3, 9, 5, 6, 7, 8],
    [5, 9, 8, 7, 6, 0, 4, 3, 2, 1],
    [6, 5, 9, 8, 7, 1, 0, 4, 3, 2],
    [7, 6, 5, 9, 8, 2, 1, 0, 4, 3],
    [8, 7, 6, 5, 9, 3, 2, 1, 0, 4],
    [9, 8, 7, 6, 5, 4, 3, 2, 1, 0],
]
P = [[0, 1, 2, 3, 4, 5, 6, 7, 8, 9], [1, 5, 7, 6, 2, 8, 3, 0, 9, 4]]
for _ in range(6):
    P.append([P[-1][P[1][i]] for i in range(10)])


def aadhaar(rng):
    """Verhoeff's check digit: the one with which the whole comes to 0."""
    body = rng.choice("23456789") + chars(rng, DIGITS, 10)
    for digit in DIGITS:
        state = 0
        for i, char in enumerate(reversed(body + digit)):
            state = D[state][P[i % 8][int(char)]]
        if state == 0:
            return grouped(body + digit, 4, 4) if rng.random() < 0.5 else body + digit


def cn_id(rng):
    body = (
        f"{rng.choice([110105, 310101, 440305, 510107])}{rng.randrange(1950, 2010)}{rng.randrange(1, 13):02d}"
        f"{rng.randrange(1, 29):02d}{rng.randrange(1000):03d}"
    )
    return body + "10X98765432"[weighted(body, [2 ** (17 - i) % 11 for i in range(17)]) % 11]


@until
def tfn(rng):
    body = rng.choice("123456789") + chars(rng, DIGITS, 7)
    for digit in DIGITS:
        if weighted(body + digit, [1, 4, 3, 7, 5, 8, 6, 9, 10]) % 11 == 0:
            return grouped(body + digit, 3, 3) if rng.random() < 0.5 else body + digit
    return None


def routing(rng):
    body = f"{rng.randrange(1, 13):02d}" + chars(rng, DIGITS, 6)
    return body + str(-weighted(body, [3, 7, 1] * 3) % 10)


PERSONAL = {
    "payment-card": (["cardNumber", "card_number", "creditCard", "card[number]", "ccnumber", "pan"], card),
    "card-security-code": (
        ["cvv", "cvc", "cvv2", "security_code", "card_cvc", "cvvNumber"],
        lambda r: chars(r, DIGITS, r.choice([3, 3, 4])),
    ),
    "iban": (["iban", "account", "bankAccount", "payee_iban", "IBAN"], iban),
    "email-address": (["email", "contact", "login", "user", "mailTo"], email),
    "phone-number": (["phone", "mobile", "phoneNumber", "tel", "contact_phone", "home_phone"], phone),
    "us-ssn": (["ssn", "socialSecurityNumber", "applicant_ssn"], ssn),
    "ca-sin": (["sin", "social_insurance_number"], sin),
    "de-tax-id": (["steuerId", "steuer_identifikationsnummer", "taxId"], de_tax),
    "fr-nir": (["nir", "numero_secu", "nss"], fr_nir),
    "it-codice-fiscale": (["codiceFiscale", "cf", "codice_fiscale"], codice_fiscale),
    "es-dni": (["dni", "nie", "documento_identidad"], es_dni),
    "nl-bsn": (["bsn", "burgerservicenummer"], bsn),
    "be-national-number": (["rijksregisternummer", "niss", "nationalNumber"], be_national),
    "pl-pesel": (["pesel", "PESEL"], pesel),
    "uk-nhs-number": (["nhsNumber", "nhs_number"], nhs),
    "br-cpf": (["cpf", "CPF"], cpf),
    "fi-hetu": (["hetu", "henkilotunnus"], hetu),
    "se-personnummer": (["personnummer", "personnr"], personnummer),
    "no-fodselsnummer": (["fodselsnummer", "fnr"], fodselsnummer),
    "dk-cpr": (["cpr", "cprNumber"], cpr),
    "ch-ahv": (["ahv", "ahvNummer", "sozialversicherungsnummer"], ahv),
    "pt-nif": (["nif", "contribuinte"], nif),
    "tr-identity-number": (["tckn", "kimlikNo"], turkish_id),
    "in-aadhaar": (["aadhaar", "aadhaarNumber"], aadhaar),
    "cn-identity-number": (["idCard", "identityNumber"], cn_id),
    "au-tfn": (["tfn", "taxFileNumber"], tfn),
    "us-routing-number": (["routing_number", "routingNumber", "aba_routing"], routing),
}
