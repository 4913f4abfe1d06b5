"""What looks like a secret is not shown: one rule for names, one for texts.

Owns both. The shim applies them before a snapshot leaves it, so that no secret is in one; the supervisor
and the page to what workspace files say of a location. Errs on the side of hiding: what is hidden by
mistake can be given another name. Python 3.6, and imports nothing of weight before it is needed.
"""

__all__ = ["HIDDEN", "definition", "is_secret_name", "masked", "masked_text", "prepare"]

HIDDEN = "(hidden)"


def _set(words):
    return frozenset(words.split())


# A name is taken apart into words: at what is no letter or digit, and before a capital.
# One of these anywhere in a word, which covers names that are written together ("dbpassword").
_PARTS = _set(
    """
    accesskey accountkey apikey credential encryptionkey passcode passphrase passwd password
    privatekey secret secretkey signingkey
    """
)
_NOT_PARTS = frozenset(("passwordless", "secretariat", "secretaries", "secretary"))
# A word that ends with one of these, in the singular or plural.
_ENDS = ("token", "pwd", "auth", "authtok")
_WORDS = _set(
    """
    authentication authorization bearer connectionstring cookie cookies cred creds jwt passw psw
    pswd pw
    """
)
# "key" as the last word is a secret, but for the keys of data and programs.
_KEYS_OF_DATA = _set(
    """
    alternate answer arrow asset attribute blob block bucket business cache candidate child
    cluster clustering column component composite compound concurrency config context cursor
    data date dedup dedupe deduplication dict dictionary dim dimension dist distribution doc
    document duplicate entity env event fact feature field file first fk foreign group grouping
    hash hot i18n id idempotency index input io item job join json kafka key kind label last
    left location lock lookup manager map mapping match merge message metadata metric name
    natural new node object old op order ordering output param parameter parent partition
    partitioning path pk pool prefix primary property public queue range record registry
    repository resource right routing row run s schedule schema second selection sensor sequence
    series shard sort sorting source state step sub surrogate table
    tag target task template time topic translation type unique update upsert value variable
    version
    """
)
# "keys" is one only after these.
_SECRET_KEYS = _set(
    "access account api encryption master private secret shared signing ssh storage"
)
# What is only about a secret, as its last word says.
_ABOUT = _set(
    """
    arn bytes class count days description dir directory enabled endpoint env expiration expires
    expiry field file filename folder format header hours kind length level limit location max
    method min minutes mode model page path policies policy port provider providers ref
    reference region required rotation scheme scope scopes seconds size source status timeout
    ttl type types uri url usage validator version window
    """
)
# Numbers of tokens, as language models have them.
_AMOUNTS = _set("average avg budget count limit max mean min num number per total used")

_ENVIRONMENTS = frozenset(("env", "env_vars", "environment", "environment_vars", "environ"))
# Parameters of signed addresses, and what connection strings say.
_PARAMETERS = frozenset(("sig", "signature", "x-amz-signature", "x-amz-credential"))

_words_of = {}  # name -> whether it is a secret's; names come again and again
_MOST_NAMES = 4096
_LONGEST_NAME = 200


def is_secret_name(name):
    """True when what stands under ``name`` is to be hidden."""
    known = _words_of.get(name)
    if known is None:
        if len(_words_of) >= _MOST_NAMES:
            _words_of.clear()
        known = _words_of[name] = _is_secret_name(name)
    return known


def _is_secret_name(name):
    words = _split(name[-_LONGEST_NAME:])
    if not words:
        return False
    last = words[-1]
    if len(words) > 1 and last in _ABOUT:
        return False
    for word, before in zip(words, [""] + words):  # noqa: B905 - strict= came with Python 3.10
        if word in _WORDS:
            return True
        if word not in _NOT_PARTS and any(part in word for part in _PARTS):
            return True
        single = word[:-1] if word.endswith("s") else word
        if single.endswith(_ENDS):
            if single != word and single.endswith("token") and _AMOUNTS & set(words):
                continue
            return True
        if single == "key" and before in _SECRET_KEYS:
            return True
    if last == "key":
        return len(words) == 1 or words[-2] not in _KEYS_OF_DATA
    if last == "pass":
        return len(words) == 1 or words[-2] in ("db", "user", "smtp", "admin", "root", "login")
    return False


def _split(name):
    words, word, before = [], "", ""
    for one in name:
        if not one.isalnum():
            words.append(word)
            word = ""
        elif one.isupper() and before.islower():
            words.append(word)
            word = one.lower()
        else:
            word += one.lower()
        before = one
    words.append(word)
    return [found for found in (one.rstrip("0123456789") or one for one in words) if found]


def masked(value):
    """Plain data with the values of variables and of what is named a secret hidden, and its texts masked.

    ``{"env_vars": ["A=1", "B"]}`` becomes ``{"env_vars": ["A=(hidden)", "B"]}``, and everything
    below ``"tokens"`` is hidden, whatever it is. What is masked already stays as it is.
    """
    if isinstance(value, str):
        return masked_text(value)
    if isinstance(value, dict):
        return {key: _item(str(key), value[key]) for key in value}
    if isinstance(value, (list, tuple)):
        found, flag = [], False
        for one in value:
            found.append(_hidden(one) if flag and isinstance(one, str) else masked(one))
            # The words of a command: an option and its value.
            flag = isinstance(one, str) and one.startswith("-") and "=" not in one
            flag = flag and is_secret_name(one)
        return found
    return value


def _item(name, item):
    if name.lower() in _ENVIRONMENTS:
        return _variables(item)
    return _hidden(item) if is_secret_name(name) else masked(item)


def _hidden(item):
    if isinstance(item, dict):
        return {key: _hidden(item[key]) for key in item}
    if isinstance(item, (list, tuple)):
        return [_hidden(one) for one in item]
    return item if item is None or item == "" else HIDDEN


def _variables(item):
    if isinstance(item, dict):
        # Which variable, where it is one that the process has: no value.
        return {key: HIDDEN for key in item}
    if isinstance(item, (list, tuple)):
        return [_variable(one) for one in item]
    return _variable(item)


def _variable(one):
    if isinstance(one, dict):
        return {key: one[key] if key in ("name", "key") else HIDDEN for key in one}
    if isinstance(one, str) and "=" in one:
        return "%s=%s" % (one.partition("=")[0], HIDDEN)
    return masked(one)


# --- definitions


def definition(one):
    """A definition of a snapshot (docs/snapshot.md), some of its fields, or a node of its graph, without
    secrets. What has another shape than a definition stays as it is."""
    if not isinstance(one, dict):
        return one
    found = {}
    for name in one:
        value = one[name]
        mask = _MASKS.get(name)
        found[name] = value if mask is None or not value else mask(value)
    return found


def _graph(graph):
    if not isinstance(graph, dict) or not isinstance(graph.get("nodes"), list):
        return graph
    return dict(graph, nodes=[definition(node) for node in graph["nodes"]])


def _fields(config):
    return [_field(one) for one in config] if isinstance(config, list) else config


def _field(one):
    if not isinstance(one, dict):
        return one
    found = dict(one)
    for name, mask in (("description", _text), ("fields", _fields)):
        if name in one:
            found[name] = mask(one[name])
    default = one.get("default")
    if isinstance(default, str) and default not in ("", "null", '""'):
        if not is_secret_name(str(one.get("name", ""))):
            found["default"] = masked_text(default)
        elif not _names_a_variable(default):
            found["default"] = '"%s"' % HIDDEN
    return found


def _text(value):
    return masked_text(value) if isinstance(value, str) else value


_MASKS = {
    "metadata": masked,
    "tags": masked,
    "run_tags": masked,
    "environment_vars": _variables,
    "description": _text,
    "automation_condition": _text,
    "compute_kind": _text,
    "config": _fields,
    "graph": _graph,
}


def _names_a_variable(text):
    """True for ``{"env": "NAME"}``, which says where a value comes from and not what it is."""
    import json

    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return False
    return isinstance(value, dict) and list(value) == ["env"] and isinstance(value["env"], str)


# --- texts

_patterns = {}  # name -> the compiled one, once it is needed: to compile all takes milliseconds
# What has none of these in it is no secret: most texts are done with this look.
_SIGNS = (
    "pass", "pwd", "psw", "secret", "token", "key", "auth", "bearer ", "basic ", "cred", "cookie",
    "jwt", "sig=", "signature=", "amz-", "://", "-----begin", "hooks.slack", "negotiate ",
    "digest ", "pw=", "pw:",
)  # fmt: skip
_PREFIXES = (
    "eyJ", "AKIA", "ASIA", "ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_", "glpat-", "xox", "sk-", "sk_", "rk_", "AIza", "hf_", "npm_",
    "pypi-", "ya29.", "SG.",
)  # fmt: skip
_SHORTEST = 5


def masked_text(text):
    """``text`` with what looks like a secret in it hidden."""
    if len(text) < _SHORTEST:
        return text
    for sign in _PREFIXES:
        if sign in text:
            text = _pattern("known").sub(HIDDEN, text)
            break
    low = text.lower()
    for sign in _SIGNS:
        if sign in low:
            return _masked_text(text)
    return text


def _masked_text(text):
    if text[0] in "{[" and text.rstrip()[-1:] in ("}", "]"):
        found = _masked_json(text)
        if found is not None:
            return found
    if ":" in text or "=" in text or "--" in text:
        text = _masked_pairs(text)
    if " " in text:
        found = _pattern("whole").match(text)
        if found is not None:
            return found.group(1) + HIDDEN
        text = _pattern("scheme").sub(r"\1" + HIDDEN, text)
    return text


def prepare():
    """Have all patterns compiled, for those who are forked from this process."""
    for name in _TEXTS:
        _pattern(name)


def _pattern(name):
    if name not in _patterns:
        import re

        flags = {"pem": re.DOTALL}.get(name, 0) | (re.IGNORECASE if name in _ANY_CASE else 0)
        _patterns[name] = re.compile(_TEXTS[name], flags)
    return _patterns[name]


def _masked_json(text):
    import json

    try:
        value = json.loads(text)
        found = masked(value)
        if found == value:
            return text
        return json.dumps(found, sort_keys=True, ensure_ascii=False)
    except (ValueError, RecursionError):
        return None


def _masked_pairs(text):
    if "-----" in text:
        text = _pattern("pem").sub(r"\1" + HIDDEN, text)
    text = _pattern("header").sub(r"\1" + HIDDEN, text)
    if "://" in text:
        text = _pattern("userinfo").sub(r"\1:" + HIDDEN + "@", text)
        text = _pattern("user").sub(r"\1" + HIDDEN + "@", text)
        text = _pattern("hook").sub(r"\1" + HIDDEN, text)
    if ";" in text and "=" in text:  # a connection string: values may hold spaces
        text = _named(text, "part", "rest")
    if "-" in text:
        text = _named(text, "option", "word")
    return _named(text, "pair", "value")


def _named(text, names, values):
    """``text`` with the values of secret names hidden; two patterns find a name and what follows it."""
    parts, at = [], 0
    for found in _pattern(names).finditer(text):
        if found.start() < at or not _leads_to_secret(text, found):
            continue
        value = _pattern(values).match(text, found.end())
        if value is not None:
            quote = value.group(1) or ('\\"' if value.group(0)[:1] == "\\" else "")
            parts += [text[at : found.end()], quote, HIDDEN, quote]
            at = value.end()
    parts.append(text[at:])
    return "".join(parts)


def _leads_to_secret(text, found):
    name = found.group(1).strip()
    if name.lower().endswith("authorization"):
        return False  # done, and what kind of it may be seen
    if not (is_secret_name(name) or name.lower() in _PARAMETERS):
        return False
    # In prose a colon follows many a word.
    if text[: found.end()].rstrip().endswith(":") and name.lower() in ("key", "auth", "token"):
        return not text[: found.start()].rpartition("\n")[2].strip()
    return True


_QUOTED = r"(?:(\"|')(?:(?!\1)[^\\]|\\.)*\1)"
_TEXTS = dict(
    pem=(r"(-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----).*?(?=-----END|\Z)"),
    header=(
        r"((?<![\w-])(?:proxy-)?authorization\\?[\"']?\s{0,4}[:=]"
        r"(?!\s{0,4}\\?[\"']?(?:[a-z]{1,20}\s{1,4})?\(hidden\))\s{0,4}\\?[\"']?"
        r"(?:(?:bearer|basic|digest|token|negotiate|apikey)\s+)?)[^\"'\\\r\n]+"
    ),
    # A port is no password. What is between the last "@" and "//" is all of it.
    userinfo=(
        r"([a-z][a-z0-9+.\-]{0,30}://[^\s/?#:@\"'<>]{0,256}):(?!\d{1,5}(?:[/?#\s]|$))"
        r"[^\s\"'<>]{1,1024}@"
    ),
    user=(r"(https?://)(?!\(hidden\))[^\s/?#:@\"'<>]{8,256}@"),
    hook=(r"(hooks\.slack\.com/(?:services|workflows)/)[\w/]+"),
    part=(r"(?:^|;)\s{0,4}([A-Za-z][\w .\-]{0,63})="),
    rest=(_QUOTED + r"|[^;\r\n]+"),
    option=(r"(?<![\w-])--?([A-Za-z][\w\-]{0,63})[ \t]{1,4}(?![-(])"),
    word=(_QUOTED + r"|[^\s\"']+"),
    pair=(
        r"(?<![\w.])(?:-{0,2}|\\?[\"'])([A-Za-z_][\w.\-]{0,63})\\?[\"']?\s{0,4}[=:]\s{0,4}(?!\(hidden\))"
    ),
    value=(_QUOTED + r"|\\\"[^\"]*\\\"|[^\s;,&\"'<>(){}\[\]\\][^\s;,&\"'<>\[\]{}]*"),
    whole=(r"(\s*(?:bearer|basic(?=\s+\S*[\d=])|negotiate|digest)\s+)\S+\s*\Z"),
    scheme=(r"(\bbearer\s+)(?=[A-Za-z]{0,512}[\d_~+/=.\-])[\w~+/=.\-]{8,4096}"),
    known=(
        r"\beyJ[\w-]{5,4096}\.[\w-]{2,4096}(?:\.[\w-]{0,4096})?"
        r"|\b(?:AKIA|ASIA)[A-Z0-9]{16}\b"
        r"|\bgh[pousr]_\w{20,255}|\bgithub_pat_\w{20,255}|\bglpat-[\w-]{16,255}"
        r"|\bxox[abeoprs]-[\w-]{10,255}|\b(?:sk|rk)_(?:live|test)_\w{10,255}"
        r"|\bsk-[\w-]{20,255}|\bAIza[\w-]{30,255}|\bhf_\w{20,255}|\bnpm_\w{20,255}"
        r"|\bpypi-[\w-]{20,255}|\bya29\.[\w-]{10,255}|\bSG\.[\w-]{16,255}\.[\w-]{16,255}"
    ),
)
_ANY_CASE = frozenset(["header", "hook", "scheme", "user", "userinfo", "whole"])
