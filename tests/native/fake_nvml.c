/* A stand-in for NVIDIA's libnvidia-ml.so.1, so that the real Python binding can be tested
 * without a GPU. It serves the functions that modelmedic asks for, and nothing else.
 *
 * Built by tests/gpu_support.py; found by the child through LD_LIBRARY_PATH.
 * With -DOLD_DRIVER the functions that drivers before 535 do not have are left out; with
 * -DANCIENT_DRIVER the only function to begin with is the unversioned nvmlInit.
 *
 * The file named by FAKE_NVML_FILE says what the machine looks like, one "key value" a line:
 *   devices 2                          cards (default 1)
 *   name NVIDIA GeForce RTX 4090       of every card
 *   gpu1.name Tesla T4                 of card 1 only
 *   fail.nvmlInitWithFlags 18          that function returns this nvmlReturn_t
 *   gpu1.fail.* 15                     every function on card 1 returns it
 *   delay.nvmlInitWithFlags 60         that function sleeps so many seconds first
 *   gpu0.slices 2                      MIG slices of card 0; mig0.1.total_mib is of its second one
 *   noise hello                        the library prints this to standard output at init
 *   crash 1                            the library aborts at init
 * A value "unsupported" makes its function return NVML_ERROR_NOT_SUPPORTED. The defaults are
 * those of an RTX 4090: no ECC, no row remapping, no MIG.
 *
 * Struct layouts and constants follow the documented ABI of nvml.h 12.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define API __attribute__((visibility("default")))
#define MAX_CARDS 16
#define MAX_SLICES 7
#define VALUE_SIZE 512

typedef unsigned int u32;
typedef unsigned long long u64;
typedef struct card { int index; } *card_t;

enum { SUCCESS = 0, INVALID = 2, NOT_SUPPORTED = 3, NOT_FOUND = 6, TOO_SMALL = 7 };
enum { FIRST_SLICE = 1000 }; /* slice s of card c has the index 1000 + c * MAX_SLICES + s */

static struct card cards[MAX_CARDS];
static struct card slices[MAX_CARDS * MAX_SLICES];
static char text[1 << 16];

static void read_file(void)
{
    const char *path = getenv("FAKE_NVML_FILE");
    FILE *file = path ? fopen(path, "r") : NULL;
    if (file) {
        size_t length = fread(text, 1, sizeof text - 1, file);
        text[length] = 0;
        fclose(file);
    }
}

/* Copy the value of one key and return 1, or return 0 when the file does not have it. */
static int find_exact(const char *key, char *value)
{
    size_t length = strlen(key);
    for (const char *line = text; *line;) {
        size_t end = strcspn(line, "\n");
        if (end > length && !strncmp(line, key, length) && line[length] == ' ') {
            snprintf(value, VALUE_SIZE, "%.*s", (int)(end - length - 1), line + length + 1);
            return 1;
        }
        line += end + (line[end] == '\n');
    }
    return 0;
}

static int find(int card, const char *key, char *value)
{
    char own[160];
    if (card >= FIRST_SLICE) {
        int slice = card - FIRST_SLICE;
        snprintf(own, sizeof own, "mig%d.%d.%s", slice / MAX_SLICES, slice % MAX_SLICES, key);
        return find_exact(own, value);
    }
    snprintf(own, sizeof own, "gpu%d.%s", card, key);
    return (card >= 0 && find_exact(own, value)) || find_exact(key, value);
}

/* Sleep if the file says so; return the error it wants of this function. */
static int answer_of(int card, const char *function)
{
    char key[160], value[VALUE_SIZE];
    snprintf(key, sizeof key, "delay.%s", function);
    if (find(card, key, value))
        sleep((u32)atoi(value));
    snprintf(key, sizeof key, "fail.%s", function);
    if (find(card, key, value) || find(card, "fail.*", value))
        return atoi(value);
    return SUCCESS;
}

#define ASK(card) \
    do { int asked = answer_of(card, __func__); if (asked) return asked; } while (0)

static int get_text(int card, const char *key, const char *standard, char *out, u32 size)
{
    char value[VALUE_SIZE];
    if (!find(card, key, value))
        snprintf(value, sizeof value, "%s", standard);
    if (!strcmp(value, "unsupported"))
        return NOT_SUPPORTED;
    if (strlen(value) >= size)
        return TOO_SMALL;
    strcpy(out, value);
    return SUCCESS;
}

static int get_number(int card, const char *key, const char *standard, u64 *out)
{
    char value[VALUE_SIZE];
    int result = get_text(card, key, standard, value, sizeof value);
    if (result == SUCCESS)
        *out = strtoull(value, NULL, 0);
    return result;
}

static int get_u32(int card, const char *key, const char *standard, u32 *out)
{
    u64 wide = 0;
    int result = get_number(card, key, standard, &wide);
    if (result == SUCCESS)
        *out = (u32)wide;
    return result;
}

#ifdef ANCIENT_DRIVER
API int nvmlInit(void)
#else
API int nvmlInitWithFlags(u32 flags)
#endif
{
    char value[VALUE_SIZE];
#ifndef ANCIENT_DRIVER
    (void)flags;
#endif
    read_file();
    if (find(-1, "noise", value))
        fputs(value, stdout);
    if (find(-1, "crash", value))
        abort();
    ASK(-1);
    for (int i = 0; i < MAX_CARDS; i++)
        cards[i].index = i;
    for (int i = 0; i < MAX_CARDS * MAX_SLICES; i++)
        slices[i].index = FIRST_SLICE + i;
    return SUCCESS;
}

API int nvmlShutdown(void) { return SUCCESS; }
API const char *nvmlErrorString(int code) { (void)code; return "said by the fake library"; }

API int nvmlSystemGetDriverVersion(char *out, u32 size)
{
    ASK(-1);
    return get_text(-1, "driver", "535.129.03", out, size);
}

API int nvmlSystemGetNVMLVersion(char *out, u32 size)
{
    ASK(-1);
    return get_text(-1, "nvml", "12.535.129.03", out, size);
}

API int nvmlSystemGetCudaDriverVersion(int *out)
{
    ASK(-1);
    return get_u32(-1, "cuda", "12020", (u32 *)out);
}

API int nvmlDeviceGetCount_v2(u32 *out)
{
    ASK(-1);
    return get_u32(-1, "devices", "1", out);
}

API int nvmlDeviceGetHandleByIndex_v2(u32 index, card_t *out)
{
    if (index >= MAX_CARDS)
        return INVALID;
    ASK((int)index);
    *out = &cards[index];
    return SUCCESS;
}

API int nvmlDeviceGetName(card_t card, char *out, u32 size)
{
    ASK(card->index);
    return get_text(card->index, "name", "NVIDIA GeForce RTX 4090", out, size);
}

API int nvmlDeviceGetUUID(card_t card, char *out, u32 size)
{
    char standard[64];
    ASK(card->index);
    snprintf(standard, sizeof standard, "GPU-00000000-0000-0000-0000-%012d", card->index);
    return get_text(card->index, "uuid", standard, out, size);
}

struct pci { char legacy[16]; u32 domain, bus, device, ids, subsystem; char bus_id[32]; };

API int nvmlDeviceGetPciInfo_v3(card_t card, struct pci *out)
{
    ASK(card->index);
    memset(out, 0, sizeof *out);
    out->bus = (u32)card->index + 1;
    snprintf(out->bus_id, sizeof out->bus_id, "00000000:%02X:00.0", out->bus);
    return SUCCESS;
}

struct memory { u64 total, free, used; };

API int nvmlDeviceGetMemoryInfo(card_t card, struct memory *out)
{
    u64 total = 0, used = 0;
    ASK(card->index);
    int result = get_number(card->index, "total_mib", "24564", &total);
    if (result == SUCCESS)
        result = get_number(card->index, "used_mib", "786", &used);
    out->total = total << 20;
    out->used = used << 20;
    out->free = out->total - out->used;
    return result;
}

API int nvmlDeviceGetCudaComputeCapability(card_t card, int *major, int *minor)
{
    char value[VALUE_SIZE];
    ASK(card->index);
    int result = get_text(card->index, "capability", "8.9", value, sizeof value);
    if (result == SUCCESS && sscanf(value, "%d.%d", major, minor) != 2)
        return INVALID;
    return result;
}

API int nvmlDeviceGetTemperature(card_t card, int sensor, u32 *out)
{
    ASK(card->index);
    return sensor ? INVALID : get_u32(card->index, "temperature", "45", out);
}

API int nvmlDeviceGetTotalEccErrors(card_t card, int type, int counter, u64 *out)
{
    ASK(card->index); /* 1 = uncorrectable, 0 = since the driver was loaded */
    if (type != 1 || counter != 0)
        return INVALID;
    return get_number(card->index, "ecc_uncorrected", "unsupported", out);
}

#define NUMBER(NAME, TYPE, GET, KEY, STANDARD)           \
    API int nvmlDeviceGet##NAME(card_t card, TYPE *out)  \
    {                                                    \
        ASK(card->index);                                \
        return GET(card->index, KEY, STANDARD, out);     \
    }

NUMBER(CurrentClocksThrottleReasons, u64, get_number, "throttle", "0x1")
NUMBER(CurrPcieLinkWidth, u32, get_u32, "width", "16")
NUMBER(MaxPcieLinkWidth, u32, get_u32, "width_max", "16")
NUMBER(CurrPcieLinkGeneration, u32, get_u32, "generation", "1")
NUMBER(MaxPcieLinkGeneration, u32, get_u32, "generation_max", "4")
NUMBER(RetiredPagesPendingStatus, u32, get_u32, "retired_pending", "unsupported")
NUMBER(PersistenceMode, u32, get_u32, "persistence", "0")
NUMBER(DisplayActive, u32, get_u32, "display", "1")

#ifndef OLD_DRIVER
NUMBER(CurrentClocksEventReasons, u64, get_number, "throttle", "0x1")

/* "remapped correctable uncorrectable pending failed" */
API int nvmlDeviceGetRemappedRows(card_t card, u32 *good, u32 *bad, u32 *pending, u32 *failed)
{
    char value[VALUE_SIZE];
    ASK(card->index);
    int result = get_text(card->index, "remapped", "unsupported", value, sizeof value);
    if (result == SUCCESS && sscanf(value, "%u %u %u %u", good, bad, pending, failed) != 4)
        return INVALID;
    return result;
}

API int nvmlDeviceGetMaxMigDeviceCount(card_t card, u32 *out)
{
    ASK(card->index);
    *out = MAX_SLICES;
    return SUCCESS;
}

API int nvmlDeviceGetMigDeviceHandleByIndex(card_t card, u32 index, card_t *out)
{
    u32 count = 0;
    ASK(card->index);
    get_u32(card->index, "slices", "0", &count);
    if (index >= count)
        return NOT_FOUND;
    *out = &slices[card->index * MAX_SLICES + (int)index];
    return SUCCESS;
}

API int nvmlDeviceGetMigMode(card_t card, u32 *current, u32 *pending)
{
    ASK(card->index);
    *pending = 0;
    return get_u32(card->index, "mig", "unsupported", current);
}
#endif

struct process { u32 pid; u64 used; u32 gpu_instance, compute_instance; };

/* "compute 4242:8192,77:-" = pid:MiB; "-" is what Windows says of every process */
static int list_processes(int card, const char *key, u32 *count, struct process *out)
{
    char value[VALUE_SIZE], *rest = value;
    u32 have = 0;
    if (!find(card, key, value))
        value[0] = 0;
    for (char *item; (item = strtok_r(rest, ",", &rest)); have++) {
        char *amount = strchr(item, ':');
        if (out && have < *count) {
            u64 used = amount && amount[1] != '-' ? strtoull(amount + 1, NULL, 10) << 20 : ~0ull;
            out[have] = (struct process){ (u32)atoi(item), used, ~0u, ~0u };
        }
    }
    int result = have && (!out || have > *count) ? TOO_SMALL : SUCCESS;
    *count = have;
    return result;
}

#define PROCESSES(NAME, KEY)                                                \
    API int nvmlDeviceGet##NAME##_v3(card_t card, u32 *count, struct process *out) \
    {                                                                       \
        ASK(card->index);                                                   \
        return list_processes(card->index, KEY, count, out);                \
    }

PROCESSES(ComputeRunningProcesses, "compute")
PROCESSES(GraphicsRunningProcesses, "graphics")
