r"""The phrases that say what an error is: lower case, whole phrases, bounded gaps.

Each rule has a name, so that a test can hold a text that it must match against one that it must
not. They are words of Python, pip, PyTorch, the Hub's clients, CUDA and the systems' C libraries.
"""

from __future__ import annotations

from modelmedic.findings import EnhancedErrorCategory as Category

Phrase = tuple[str, Category, str]

# Numbers mislead here: name lookups and TLS have error numbers of their own, and "bus error" in a
# worker of PyTorch is a full /dev/shm.
BEFORE_NUMBERS: tuple[Phrase, ...] = (
    (
        "shared-memory",
        Category.RESOURCE_EXHAUSTION,
        r"\binsufficient shared memory\b|\bout of shared memory\b|\bno space left\b.{0,40}/dev/shm",
    ),
    (
        "certificate",
        Category.NETWORK,
        r"\bcertificate[ _]verify[ _]failed\b|\bself[- ]signed certificate\b"
        r"|\bunable to get (?:local )?issuer certificate\b|\[ssl: [a-z0-9_]{4,60}\]"
        r"|\bcertificate (?:has expired|is not yet valid|signed by unknown authority)\b"
        r"|\bssl: no alternative certificate\b|\btlsv1(?:\.\d)? alert\b",
    ),
    (
        "name-lookup",
        Category.NETWORK,
        r"\bname or service not known\b|\bnodename nor servname\b|\bgetaddrinfo failed\b"
        r"|\bname resolution\b|\bcould not resolve (?:host|proxy)\b|\bfailed to resolve '"
        r"|\bno address associated with hostname\b|\bdns (?:error|lookup failed)\b"
        r"|\bno such host\b",
    ),
)

PHRASES: tuple[Phrase, ...] = (
    (
        "memory",
        Category.RESOURCE_EXHAUSTION,
        r"\bout of memory\b|\bcannot allocate memory\b|\bunable to allocate [\d.]{1,12} [kmgt]?i?b"
        r"|\bbad_alloc\b|\boom[- ]?kill(?:ed|er)\b|\bnot enough memory\b|\binsufficient memory\b"
        r"|\bfailed to allocate (?:memory|[\d.]{1,12} ?[kmgt]?i?b)|\b\w{1,20}_status_alloc_failed\b"
        r"|\bmemory allocation of \d{1,20} bytes failed\b|\bcan't allocate memory\b"
        r"|\bnot enough (?:v|gpu |system |host )?ram\b|\bpaging file is too small\b",
    ),
    (
        "disk-space",
        Category.RESOURCE_EXHAUSTION,
        r"\bno space left on device\b|\bdisk quota exceeded\b|\bnot enough (?:free )?(?:disk )?space\b"
        r"|\bthere is not enough space on the disk\b|\bdisk (?:is )?full\b"
        r"|\binsufficient disk space\b",
    ),
    (
        "handles-and-threads",
        Category.RESOURCE_EXHAUSTION,
        r"\btoo many open files\b|\bcan't start new thread\b|\bfork: (?:retry: )?resource temporarily",
    ),
    (
        "killed",
        Category.RESOURCE_EXHAUSTION,
        r"^(?:\S{1,80}: line \d{1,7}: +\d{1,9} )?killed\b *(?:\(|$|\S{0,80}python)"
        r"|\bis killed by signal: killed\b",
    ),
    (
        "timed-out",
        Category.TIMEOUT,
        r"\btimed out\b(?! of)|\b(?:read|connect|connection|request|gateway|handshake|operation|lock)"
        r"[ -]?time-?out\b|\b(?:read|connect)timeout(?:error)?\b|\bdeadline exceeded\b"
        r"|\btimeout (?:was )?(?:exceeded|expired|reached)\b",
    ),
    (
        "credentials",
        Category.AUTHENTICATION,
        r"\binvalid (?:credentials|username or password|user name or password|access token"
        r"|api[ _-]?key|authentication token)\b|\bauthentication (?:failed|required)\b"
        r"|\bnot authenticated\b|\b401 unauthorized\b|\b403 forbidden\b|\bplease log ?in\b"
        r"|\bpermission denied \(publickey|\bproxy authentication required\b"
        r"|\b(?:access|api) ?token (?:has )?(?:expired|is invalid|was revoked)\b"
        r"|\b(?:\w{1,40}_)?(?:api_key|token|secret_key|access_key)\b.{0,20} (?:is |was |be )?(?:not set|missing)\b",
    ),
    (
        "gated",
        Category.AUTHENTICATION,
        r"\bgated repo(?:sitory)?\b|\baccess to model \S{1,200} is restricted\b"
        r"|\bmust have access to it and be authenticated\b"
        r"|\bpass a token having permission to this repo\b",
    ),
    (
        "permission",
        Category.PERMISSION,
        r"\bpermission denied\b|\baccess is denied\b|\boperation not permitted\b"
        r"|\bread-only file ?system\b|\brequired privilege is not held\b"
        r"|\bforbidden by its access permissions\b|\brequires (?:administrator|elevated|root) "
        r"|\bmust be run as (?:root|an? administrator)\b|\bis not writ(?:e)?able\b"
        r"|\binsufficient permissions?\b",
    ),
    (
        "connection",
        Category.NETWORK,
        r"\bconnection (?:was |has been )?(?:refused|reset|aborted|closed|broken|lost)\b"
        r"|\bconnection (?:error|ended prematurely)\b|\bmax retries exceeded with url\b"
        r"|\bfailed to establish a new connection\b"
        r"|\b(?:could ?n[o']t|can(?:no|')t|unable to|failed to) connect to\b"
        r"|\bnetwork is (?:unreachable|down)\b|\bno route to host\b|\bhost is unreachable\b"
        r"|\bremote end closed\b|\bpeer closed connection\b|\bserver disconnected\b"
        r"|\bbroken pipe\b|\beof occurred in violation of protocol\b|\bincompleteread\(",
    ),
    (
        "server",
        Category.NETWORK,
        r"\b(?:502 )?bad gateway\b|\b503 service (?:temporarily )?unavailable\b|\btoo many requests\b"
        r"|\b500 internal server error\b|\brate limit(?:ed)? (?:exceeded|reached|hit)\b"
        r"|\brequest failed after \d{1,4} (?:retries|attempts)\b|\berror sending request\b"
        r"|\bunable to access 'https?:|\brpc failed; (?:curl|http)\b"
        r"|\bdistant resource does not\b|\boutgoing traffic has been disabled\b",
    ),
    (
        "proxy",
        Category.NETWORK,
        r"\b(?:cannot|unable to|failed to) connect to (?:the )?proxy\b|\bproxyerror\b"
        r"|\btunnel connection failed\b|\bproxy connect aborted\b"
        r"|\bwhen localhost is not accessible\b",
    ),
    (
        "weights-header",
        Category.CORRUPTION,
        r"\berror while deserializing header\b|\bincomplete ?metadata\b|\bmetadataincompletebuffer\b"
        r"|\binvalidheader\w{0,20}\b|\bheader ?too ?(?:large|small)\b|\bfile not fully covered\b"
        r"|\binvalid load key\b|\bpickle data was truncated\b|\bran out of input\b"
        r"|\binvalid magic (?:number|character)|\bgguf magic\b",
    ),
    (
        "archive",
        Category.CORRUPTION,
        r"\bfailed (?:reading zip archive|finding central directory)\b|\bfile is not a zip file\b"
        r"|\bbad (?:zip file|magic number for|crc-?32)\b|\bnot a gzip(?:ped)? file\b"
        r"|\bunexpected end of (?:file|data|stream|archive|central directory)\b"
        r"|\bcrc (?:check )?(?:error|failed|mismatch)\b|\binvalid (?:zip archive|block type|stored block)"
        r"|\bcompressed file ended before\b|\berror -3 while decompressing\b",
    ),
    (
        "digest",
        Category.CORRUPTION,
        r"\b(?:checksum|hash|sha-?256|sha1|md5|digest|etag)(?: \w{1,20}){0,2} "
        r"(?:mismatch(?:es)?|do(?:es)? not match|did not match|doesn't match|verification failed)"
        r"|\b(?:mismatched|wrong|bad|invalid|incorrect) (?:checksum|hash|sha-?256|digest)\b"
        r"|\bdo not match the hashes\b|\bsize mismatch: (?:expected )?\d",
    ),
    (
        "damaged-file",
        Category.CORRUPTION,
        r"\b(?:file|archive|checkpoint|download|cache|index|header|metadata|package|wheel|weights?)"
        r"(?: \S{1,200})? (?:is|are|was|were|may be|might be|seems|appears)(?: to be)? "
        r"(?:corrupt(?:ed)?|damaged|truncated|incomplete)\b",
    ),
    (
        "hidden-package",
        Category.CONFIGURATION,
        r"\bcannot import name \S{1,100} from (?:partially initialized module )?\S{1,100} "
        r"\((?![^)\n]{0,300}(?:site|dist)-packages)[^)\n]{1,300}[/\\]",
    ),
    (
        "missing-name",
        Category.VERSION_MISMATCH,
        r"\bcannot import name\b|\bmodule ['\"]?[\w.]{1,100}['\"]? has no attribute\b"
        r"|\bno module named ['\"]?\w{1,60}\.[\w.]{1,100}|\bunexpected keyword argument\b"
        r"|\boperator \S{1,100} does not exist\b",
    ),
    (
        "requirement",
        Category.VERSION_MISMATCH,
        r"\bbut you have \S{1,60} \S{1,40}|\bwhich is incompatible\b|\brequires a different python\b"
        r"|\bis required for a normal functioning\b|\bconflicting dependencies\b"
        r"|\bresolutionimpossible\b|\brequires(?:-python| python)? ?[<>=!~]=? ?\d"
        r"|\bversion conflict\b|\bbut found \S{1,60}==",
    ),
    (
        "binary",
        Category.VERSION_MISMATCH,
        r"\bundefined symbol\b|\bsymbol not found\b|\bprocedure entry point\b|\bsize changed, may indicate\b"
        r"|\bbinary incompatibility\b|\bcompiled using numpy\b|\bversion `\w{1,20}_[\d.]{1,12}' not found\b"
        r"|\bnot a valid win32 application\b|\bapi version 0x[0-9a-f]{1,8} but\b"
        r"|\bwas built for:? |\bwere built for:? ",
    ),
    (
        "cuda-version",
        Category.VERSION_MISMATCH,
        r"\bno kernel image is available\b|\bmismatches the version\b|\bversion mismatch\b"
        r"|\bdriver on your system is too old\b|\bdriver version is insufficient\b"
        r"|\bis not compatible with the current pytorch\b|\bunsupported (?:toolchain|ptx version)\b"
        r"|\bforward compatibility was attempted\b",
    ),
    (
        "removed",
        Category.VERSION_MISMATCH,
        r"\b(?:was|were|has been|have been) removed in\b|\bis no longer (?:supported|available|works?)\b"
        r"|\bno longer works\b|\brequires (?:a newer|at least) version\b",
    ),
    (
        "missing-module",
        Category.DEPENDENCY,
        r"\bno module named ['\"]?\w|\b(?:package|library|module|program) ['\"`]?[\w.-]{1,60}['\"`]? "
        r"(?:is not installed|was not found|is missing)\b|^(?:\w{1,30}: )?please install [`'\"]?\w"
        r"|\brequires the [\w.-]{1,60} (?:library|package)\b|\btry:? [`'\"]?pip install\b"
        r"|\bnameerror: name '(?:torch|np|ftfy|bs4|cv2|flash_attn\w{0,20}|xformers|triton|imageio"
        r"|sageattention|accelerate|bitsandbytes|sentencepiece|decord|av|librosa|peft|onnxruntime)'"
        r"|^name '(?:ftfy|bs4|cv2|flash_attn\w{0,20}|xformers|triton)' is not defined",
    ),
    (
        "missing-program",
        Category.DEPENDENCY,
        r"\bcommand not found\b|\bis not recognized as an internal or external command\b"
        r"|\b(?:nvcc|ninja|cmake|gcc|g\+\+|clang|cl\.exe|git|git-lfs|ffmpeg|ffprobe|rustc|cargo)"
        r"(?:\.exe)?['\"`]? (?:was |is |were )?not found\b"
        r"|\bno such file or directory: '(?:nvcc|ninja|cmake|gcc|g\+\+|git|ffmpeg|ffprobe|pip|uv)'"
        r"|\bcuda_home environment variable is not set\b|\bbad interpreter\b|^no python at\b"
        r"|\bdid not find executable at\b|\bcannot find a working triton\b",
    ),
    (
        "missing-library",
        Category.DEPENDENCY,
        r"\bcannot open shared object file\b|\bdll load failed\b|\berror loading [^\n]{1,200}\.dll\b"
        r"|\bspecified module could not be found\b|\blibrary not loaded\b|\bunable to find library -l"
        r"|\bmicrosoft visual c\+\+ [\d.]{1,5} (?:or greater )?is required\b"
        r"|\bcan't load c\+\+/cuda extensions\b|\bcould not load library lib",
    ),
    (
        "build-of-torch",
        Category.DEPENDENCY,
        r"\btorch not compiled with cuda enabled\b|\bnot compiled with (?:cuda|cudnn|gpu) support\b",
    ),
    (
        "pip",
        Category.DEPENDENCY,
        r"\bno matching distribution found\b|\bcould not find a version that satisfies\b"
        r"|\bexternally-managed-environment\b|\bensurepip is not available\b"
        r"|\bfailed (?:building wheel|to build)\b|\bcould not build wheels\b"
        r"|\bmetadata-generation-failed\b|\bsubprocess-exited-with-error\b"
        r"|\bpreparing metadata \(pyproject\.toml\) ?(?:\.\.\.|did not)|\binvalid distribution\b",
    ),
    (
        "assert-available",
        Category.DEPENDENCY,
        r"\bassert(?:ionerror:?)? \w{1,60}_available\b",
    ),
    (
        "missing-method",
        Category.MISSING_METHOD,
        r"(?<!module )['\"](?!(?:nonetype|str|bytes|list|dict|tuple|set|int|float|bool|function)['\"])"
        r"[\w.]{1,100}['\"] object has no attribute ['\"]\w"
        r"|\btype object ['\"]\w{1,100}['\"] has no attribute\b"
        r"|\bcan't instantiate abstract class\b",
    ),
    (
        "no-answer",
        Category.NETWORK,
        r"'nonetype' object has no attribute '(?:status_code|headers|iter_content|raise_for_status)'",
    ),
    (
        "state-dict",
        Category.VALIDATION,
        r"\bsize mismatch for\b|\b(?:missing|unexpected) key(?:s|\(s\)) in state_dict\b"
        r"|\berror\(s\) in loading state_dict\b|\bto have \d{1,6} channels, but got \d"
        r"|\bto have \d{1,6} channels\b|\bshapes? (?:cannot be multiplied|mismatch)\b"
        r"|\bthe size of tensor a\b|\bshape '\[[^\]\n]{1,80}\]' is invalid\b"
        r"|\bcannot copy: shape\b|\bexpected shape\b.{0,60}\bbut got\b",
    ),
    (
        "missing-model-file",
        Category.VALIDATION,
        r"\bno file named \S|\bdoes not appear to have (?:a file|files) named\b"
        r"|\b(?:no such file or directory|filenotfounderror)\b[^\n]{0,300}"
        r"\.(?:safetensors|pth|pt|bin|ckpt|gguf|onnx|json)\b"
        r"|\bis not the path to a directory containing\b|\b(?:checkpoint|model|weights?) "
        r"(?:file |folder |directory )?\S{0,200} ?(?:not found|does not exist)\b"
        r"|\b(?:some )?weights of \S{1,100} were not initialized\b",
    ),
    (
        "no-numbers",
        Category.VALIDATION,
        r"\binvalid value encountered in\b|\b(?:contains?|produced|detected) (?:nan|inf)s?\b"
        r"|\btensor with (?:all )?nans?\b",
    ),
    (
        "settings-file",
        Category.CONFIGURATION,
        r"\bexpecting (?:value|property name|',' delimiter)[^\n]{0,60}: line \d|\bcodec can't (?:de|en)code\b"
        r"|\bnot (?:a )?valid (?:json|yaml|toml)\b|\binvalid (?:json|yaml|toml)\b"
        r"|\b(?:json|yaml|toml) ?(?:decode|parse|parsing|syntax) ?error\b"
        r"|\bmissing (?:required )?(?:key|setting|option|field)s?:? ['\"]?\w",
    ),
    (
        "option",
        Category.CONFIGURATION,
        r"\bunrecognized arguments?\b|\binvalid choice\b|\bthe following arguments are required\b"
        r"|\bunsupport(?:ed)? (?:size|task|resolution|value|option)\b|\bunknown (?:option|argument|task)\b"
        r"|\bshould be equal to the world size\b|\bnot supported in non-distributed\b"
        r"|\benvironment variable \S{1,60} (?:is )?not set\b|\bmust be divisible by\b",
    ),
    (
        "port",
        Category.CONFIGURATION,
        r"\baddress already in use\b|\bport \d{1,5} is (?:already )?(?:in use|allocated|taken)\b"
        r"|\bcannot find empty port\b|\bonly one usage of each socket address\b",
    ),
    (
        "file-name",
        Category.CONFIGURATION,
        r"\bopening output file [^\n]{1,300}: invalid argument\b|\bvolume label syntax is incorrect\b",
    ),
    (
        "gpu",
        Category.SYSTEM,
        r"\bfailed to initialize nvml\b|\bfound no nvidia driver\b|\bno cuda gpus are available\b"
        r"|\bno cuda-capable device\b|\bhas fallen off the bus\b|\buncorrectable ecc\b"
        r"|\bcould not select device driver\b|\bunable to determine the device handle\b"
        r"|\bno devices were found\b|\bnccl error\b|\bhip error\b"
        r"|\bcuda error: (?:unspecified launch failure|an illegal memory access|unknown error"
        r"|device-side assert)|\bonly supports (?:\w{1,20} ){1,3}gpus\b",
    ),
    (
        "crash",
        Category.SYSTEM,
        r"\bsegmentation fault\b|\bbus error\b|\billegal instruction\b|\baborted \(core dumped\)"
        r"|\baccess violation\b|\bfatal python error\b|\bdouble free or corruption\b"
        r"|\bexec format error\b|\bcannot execute binary file\b",
    ),
    (
        "file-system",
        Category.SYSTEM,
        r"\binput/output error\b|\bstale (?:nfs )?file handle\b|\bdevice or resource busy\b"
        r"|\btext file busy\b|\bfile ?name(?: or extension)? (?:is )?too long\b"
        r"|\b(?:used|locked|opened) by another process\b|\bno locks available\b|\bno such device\b"
        r"|\bdoes not (?:appear to )?support (?:flock|locking|locks|symlinks|symbolic links)\b"
        r"|\btransport endpoint is not connected\b",
    ),
)
